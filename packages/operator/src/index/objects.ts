// SPDX-License-Identifier: Apache-2.0
// The objects in force, keyed by what compile asks for.
import { same } from '@pillion/contract'
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

  /**
   * Takes a change over; returns the names of what changed, by kind, and for EndpointSlices those of the Services that they
   * belong to. An object that says what it said before (a status that nobody compiles) has not changed.
   */
  apply(change: SourceChange): Map<ApiKind, Set<string>> {
    const dirty = new Map<ApiKind, Set<string>>()
    const mark = (kind: ApiKind, name: string | undefined): void => {
      const names = dirty.get(kind) ?? new Set()
      if (name !== undefined) names.add(name)
      dirty.set(kind, names)
    }
    for (const key of change.removals) {
      const kind = key.slice(0, key.indexOf('/')) as ApiKind
      const name = key.slice(kind.length + 1)
      if (this.#objects.get(kind)?.delete(name) !== true) continue
      mark(kind, kind === 'EndpointSlice' ? this.#detach(name) : name)
    }
    for (const object of change.upserts) {
      const { kind } = object
      const name = `${object.metadata.namespace}/${object.metadata.name}`
      const objects = this.#objects.get(kind)
      if (same(objects?.get(name), object)) continue
      objects?.set(name, object)
      if (kind === 'EndpointSlice') {
        mark(kind, this.#detach(name))
        mark(kind, this.#attach(name, object))
      } else mark(kind, name)
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

  /** The Service that the slice belongs to. */
  #attach(name: string, slice: ApiObject<'EndpointSlice'>): string | undefined {
    const service = slice.metadata.labels[serviceLabel]
    if (service === undefined) return undefined
    const owner = `${slice.metadata.namespace}/${service}`
    this.#sliceOwner.set(name, owner)
    const slices = this.#slices.get(owner)
    if (slices === undefined) this.#slices.set(owner, new Map([[name, slice]]))
    else slices.set(name, slice)
    return owner
  }

  /** The Service that the slice belonged to. */
  #detach(name: string): string | undefined {
    const owner = this.#sliceOwner.get(name)
    if (owner === undefined) return undefined
    this.#sliceOwner.delete(name)
    const slices = this.#slices.get(owner)
    slices?.delete(name)
    if (slices?.size === 0) this.#slices.delete(owner)
    return owner
  }
}
