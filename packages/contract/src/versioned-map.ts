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

/** As many changes as this share of a map are kept beside it, before it is copied with them in it. */
const overlayShare = 1 / 8
const minOverlay = 64

/**
 * A plain map that nobody changes any more, and beside it the changes since, in a persistent one: reading and building cost what
 * a plain map costs, and a derivation costs its changes. Values are never undefined.
 */
export class VersionedMap<V> implements Tracked<V> {
  readonly size: number
  readonly #base: ReadonlyMap<string, V>
  /** undefined: not in the map any more. */
  readonly #overlay: PersistentMap<string, V | undefined>
  readonly #journal: Journal
  readonly #version: number

  private constructor(
    base: ReadonlyMap<string, V>,
    overlay: PersistentMap<string, V | undefined>,
    size: number,
    journal: Journal,
    version: number,
  ) {
    this.#base = base
    this.#overlay = overlay
    this.size = size
    this.#journal = journal
    this.#version = version
  }

  static empty<V>(): VersionedMap<V> {
    return new VersionedMap<V>(new Map(), PersistentMap(), 0, new Journal(), 0)
  }

  /** `map` itself if it is one of ours; otherwise a copy, O(all). */
  static of<V>(map: ReadonlyMap<string, V>): VersionedMap<V> {
    if (map instanceof VersionedMap) return map as VersionedMap<V>
    return VersionedMap.empty<V>().apply(map)
  }

  /**
   * This map without `removals` and with `sets`, O(both). A value that says the same as before is left alone; without any
   * difference it is this very map.
   */
  with(
    sets: Iterable<readonly [string, V]>,
    removals: Iterable<string> = [],
  ): VersionedMap<V> {
    const changes = new Map<string, V | undefined>()
    for (const name of removals) changes.set(name, undefined)
    for (const [name, value] of sets) {
      const before = changes.has(name) ? changes.get(name) : this.get(name)
      if (before === undefined || !same(before, value)) changes.set(name, value)
    }
    return this.apply(changes)
  }

  /** This map with `changes`, undefined for what goes; O(changes). Without any difference it is this very map. */
  apply(changes: ReadonlyMap<string, V | undefined>): VersionedMap<V> {
    const changed = new Set<string>()
    let { size } = this
    for (const [name, value] of changes) {
      const before = this.get(name)
      if (before === value) continue
      changed.add(name)
      size += Number(value !== undefined) - Number(before !== undefined)
    }
    if (changed.size === 0) return this
    // A second derivation of one map begins a line of its own.
    const newest = this.#journal.newest === this.#version
    const journal = newest ? this.#journal : new Journal()
    const version = journal.record(changed)
    const beside = this.#overlay.size + changed.size
    if (beside > Math.max(minOverlay, this.#base.size * overlayShare)) {
      const base = new Map(this)
      for (const name of changed) {
        const value = changes.get(name)
        if (value === undefined) base.delete(name)
        else base.set(name, value)
      }
      return new VersionedMap(base, PersistentMap(), size, journal, version)
    }
    const overlay = this.#overlay.withMutations((draft) => {
      for (const name of changed) draft.set(name, changes.get(name))
    })
    return new VersionedMap(this.#base, overlay, size, journal, version)
  }

  changedSince(older: ReadonlyMap<string, V>): ReadonlySet<string> | undefined {
    if (!(older instanceof VersionedMap)) return undefined
    const other = older as VersionedMap<V>
    if (other.#journal !== this.#journal) return undefined
    return this.#journal.between(other.#version, this.#version)
  }

  get(name: string): V | undefined {
    if (this.#overlay.size > 0 && this.#overlay.has(name)) return this.#overlay.get(name)
    return this.#base.get(name)
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  forEach(each: (value: V, name: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [name, value] of this) each(value, name, this)
  }

  *keys(): MapIterator<string> {
    for (const [name] of this) yield name
  }

  *values(): MapIterator<V> {
    for (const [, value] of this) yield value
  }

  entries(): MapIterator<[string, V]> {
    return this[Symbol.iterator]()
  }

  *[Symbol.iterator](): MapIterator<[string, V]> {
    for (const entry of this.#base) if (!this.#overlay.has(entry[0])) yield entry
    for (const [name, value] of this.#overlay)
      if (value !== undefined) yield [name, value]
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
