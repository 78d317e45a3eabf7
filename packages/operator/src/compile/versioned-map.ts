// SPDX-License-Identifier: Apache-2.0
// Maps that are never changed, only derived from one another, and remember by what they differ: one endpoint among 50 000 is
// then found, compiled and sent without a look at the others.
import { Map as PersistentMap } from 'immutable'
import { same } from './same.ts'

/** How many derivations back a difference is remembered; further back it is found by comparing. */
export const rememberedVersions = 256

/** A map that may know by which names it differs from an older one. */
export interface Tracked<V> extends ReadonlyMap<string, V> {
  /** Names whose values may differ; undefined: not known, compare. */
  changedSince(older: ReadonlyMap<string, V>): ReadonlySet<string> | undefined
}

/** The names that each derivation of one line of maps touched. */
class Journal {
  readonly #changes: (ReadonlySet<string> | undefined)[] = []
  newest = 0

  /** Version `newest + 1` differs from `newest` by `names`. */
  record(names: ReadonlySet<string>): number {
    this.newest++
    this.#changes[this.newest % rememberedVersions] = names
    return this.newest
  }

  between(older: number, newer: number): ReadonlySet<string> | undefined {
    if (newer < older || this.newest - older > rememberedVersions) return undefined
    if (newer === older + 1) return this.#changes[newer % rememberedVersions]
    const names = new Set<string>()
    for (let version = older + 1; version <= newer; version++) {
      for (const name of this.#changes[version % rememberedVersions] ?? [])
        names.add(name)
    }
    return names
  }
}

export class VersionedMap<V> implements Tracked<V> {
  readonly #content: PersistentMap<string, V>
  readonly #journal: Journal
  readonly #version: number

  private constructor(
    content: PersistentMap<string, V>,
    journal: Journal,
    version: number,
  ) {
    this.#content = content
    this.#journal = journal
    this.#version = version
  }

  static empty<V>(): VersionedMap<V> {
    return new VersionedMap<V>(PersistentMap(), new Journal(), 0)
  }

  /**
   * This map with `sets` and without `removals`, O(both). A value that says the same as before is left alone; without any
   * difference it is this very map.
   */
  with(
    sets: Iterable<readonly [string, V]>,
    removals: Iterable<string> = [],
  ): VersionedMap<V> {
    const changed = new Set<string>()
    const content = this.#content.withMutations((draft) => {
      for (const name of removals) {
        if (!draft.has(name)) continue
        draft.delete(name)
        changed.add(name)
      }
      for (const [name, value] of sets) {
        const before = draft.get(name)
        if (before !== undefined && same(before, value)) continue
        draft.set(name, value)
        changed.add(name)
      }
    })
    if (changed.size === 0) return this
    // A second derivation of one map begins a line of its own.
    const newest = this.#journal.newest === this.#version
    const journal = newest ? this.#journal : new Journal()
    return new VersionedMap(content, journal, journal.record(changed))
  }

  changedSince(older: ReadonlyMap<string, V>): ReadonlySet<string> | undefined {
    if (!(older instanceof VersionedMap)) return undefined
    const other = older as VersionedMap<V>
    if (other.#journal !== this.#journal) return undefined
    return this.#journal.between(other.#version, this.#version)
  }

  get size(): number {
    return this.#content.size
  }

  get(name: string): V | undefined {
    return this.#content.get(name)
  }

  has(name: string): boolean {
    return this.#content.has(name)
  }

  forEach(each: (value: V, name: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [name, value] of this.#content) each(value, name, this)
  }

  keys(): MapIterator<string> {
    return this.#content.keys() as MapIterator<string>
  }

  values(): MapIterator<V> {
    return this.#content.values() as MapIterator<V>
  }

  entries(): MapIterator<[string, V]> {
    return this.#content.entries() as MapIterator<[string, V]>
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }
}

/** A Map of the language, or one of ours: for whoever shows values of any kind. */
export function isMap(value: unknown): value is ReadonlyMap<string, unknown> {
  return (
    value instanceof Map || value instanceof VersionedMap || value instanceof OverlayMap
  )
}

/** A shared map of which one reader sees a few values in another way; costs those few. */
export class OverlayMap<V> implements Tracked<V> {
  readonly #base: Tracked<V>
  readonly #overrides: ReadonlyMap<string, V>

  /** `overrides` of names that `base` does not have are not seen. */
  constructor(base: Tracked<V>, overrides: ReadonlyMap<string, V>) {
    this.#base = base
    this.#overrides = overrides
  }

  changedSince(older: ReadonlyMap<string, V>): ReadonlySet<string> | undefined {
    if (!(older instanceof OverlayMap)) return undefined
    const other = older as OverlayMap<V>
    const changed = this.#base.changedSince(other.#base)
    if (changed === undefined || this.#overrides === other.#overrides) return changed
    return new Set([...changed, ...this.#overrides.keys(), ...other.#overrides.keys()])
  }

  get size(): number {
    return this.#base.size
  }

  get(name: string): V | undefined {
    const value = this.#base.get(name)
    return value === undefined ? undefined : (this.#overrides.get(name) ?? value)
  }

  has(name: string): boolean {
    return this.#base.has(name)
  }

  forEach(each: (value: V, name: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [name, value] of this) each(value, name, this)
  }

  keys(): MapIterator<string> {
    return this.#base.keys()
  }

  *values(): MapIterator<V> {
    for (const [, value] of this) yield value
  }

  entries(): MapIterator<[string, V]> {
    return this[Symbol.iterator]()
  }

  *[Symbol.iterator](): MapIterator<[string, V]> {
    for (const [name, value] of this.#base) {
      yield [name, this.#overrides.get(name) ?? value]
    }
  }
}
