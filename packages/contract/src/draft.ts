// SPDX-License-Identifier: Apache-2.0
import { VersionedMap } from './versioned-map.ts'

/** Changes to a map, collected: the result shares with the state before all that did not change, and costs the changes. */
export class Draft<V> {
  readonly #base: ReadonlyMap<string, V>
  /** undefined: deleted. */
  readonly #changes = new Map<string, V | undefined>()

  constructor(base: ReadonlyMap<string, V>) {
    this.#base = base
  }

  get(key: string): V | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#base.get(key)
  }

  set(key: string, value: V): void {
    this.#changes.set(key, value)
  }

  delete(key: string): void {
    if (this.get(key) !== undefined) this.#changes.set(key, undefined)
  }

  /** The result; the very map that came in when nothing changed. */
  done(): ReadonlyMap<string, V> {
    if (this.#changes.size === 0) return this.#base
    return VersionedMap.of(this.#base).apply(this.#changes)
  }
}
