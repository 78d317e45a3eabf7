// SPDX-License-Identifier: Apache-2.0
// The objects in force, keyed by what compile asks for.
import { apiKinds, type ApiKind, type ApiObject } from '../api/object.ts'
import type { SourceChange } from '../watch/source.ts'

/** Objects of every kind by "namespace/name" ("/name" for what is cluster scoped), and the joins that compile needs. */
export type Snapshot = {
  readonly [K in ApiKind]: ReadonlyMap<string, ApiObject<K>>
} & {
  /** EndpointSlices by "namespace/service". */
  readonly slices: ReadonlyMap<string, ReadonlyMap<string, ApiObject<'EndpointSlice'>>>
}

const serviceLabel = 'kubernetes.io/service-name'

export class ObjectIndex {
  readonly #objects = new Map<ApiKind, Map<string, ApiObject>>(
    apiKinds.map((kind) => [kind, new Map()]),
  )
  readonly #slices = new Map<string, Map<string, ApiObject<'EndpointSlice'>>>()
  readonly #sliceOwner = new Map<string, string>()

  /** Takes a change over; returns the kinds of which something changed. */
  apply(change: SourceChange): Set<ApiKind> {
    const dirty = new Set<ApiKind>()
    for (const key of change.removals) {
      const kind = key.slice(0, key.indexOf('/')) as ApiKind
      const name = key.slice(kind.length + 1)
      this.#objects.get(kind)?.delete(name)
      if (kind === 'EndpointSlice') this.#detach(name)
      dirty.add(kind)
    }
    for (const object of change.upserts) {
      const name = `${object.metadata.namespace}/${object.metadata.name}`
      this.#objects.get(object.kind)?.set(name, object)
      if (object.kind === 'EndpointSlice') this.#attach(name, object)
      dirty.add(object.kind)
    }
    return dirty
  }

  /** A view, not a copy: read it before the next `apply`. */
  snapshot(): Snapshot {
    return {
      ...Object.fromEntries(this.#objects),
      slices: this.#slices,
    } as unknown as Snapshot
  }

  /** Every object. */
  *all(): Generator<ApiObject> {
    for (const objects of this.#objects.values()) yield* objects.values()
  }

  #attach(name: string, slice: ApiObject<'EndpointSlice'>): void {
    this.#detach(name)
    const service = slice.metadata.labels[serviceLabel]
    if (service === undefined) return
    const owner = `${slice.metadata.namespace}/${service}`
    this.#sliceOwner.set(name, owner)
    const slices = this.#slices.get(owner)
    if (slices === undefined) this.#slices.set(owner, new Map([[name, slice]]))
    else slices.set(name, slice)
  }

  #detach(name: string): void {
    const owner = this.#sliceOwner.get(name)
    if (owner === undefined) return
    this.#sliceOwner.delete(name)
    const slices = this.#slices.get(owner)
    slices?.delete(name)
    if (slices?.size === 0) this.#slices.delete(owner)
  }
}
