// SPDX-License-Identifier: Apache-2.0
// Deltas as bytes. Most of what one node gets, all nodes get.
import { Delta, type Resource } from '@pillion/contract'

interface Encoded {
  readonly name: string
  /** The resource as an element of `Delta.upserts`, tag and length before it. */
  readonly bytes: Uint8Array
}

/** By the resource's value, which is the same object in every view: gone when no view has it any more. */
const encoded = new WeakMap<object, Encoded>()

/** The wire form of `delta`, the same as `Delta.encode` but for the order of fields; a resource is encoded once for all nodes. */
export function encodeDelta(delta: Delta): Buffer {
  const head = Delta.encode({ ...delta, upserts: [] }).finish()
  return Buffer.concat([head, ...delta.upserts.map(encodeUpsert)])
}

function encodeUpsert(resource: Resource): Uint8Array {
  const value = resource.body?.value
  const known = value && encoded.get(value)
  if (known?.name === resource.name) return known.bytes
  const bytes = Delta.encode(Delta.fromPartial({ upserts: [resource] })).finish()
  if (value !== undefined) encoded.set(value, { name: resource.name, bytes })
  return bytes
}
