// SPDX-License-Identifier: Apache-2.0
// The objects of one watched resource by name, as much of each as is needed.
import { isDeepStrictEqual } from 'node:util'
import type { ReflectorSink, ServerObject } from '../watch/reflector.ts'

export class HeldObjects<T> implements ReflectorSink {
  readonly values = new Map<string, T>()
  readonly #take: (object: ServerObject) => T
  readonly #onChange: () => void
  #listed = new Set<string>()

  /** `onChange`: the list is complete, or something that was taken has changed. */
  constructor(take: (object: ServerObject) => T, onChange: () => void) {
    this.#take = take
    this.#onChange = onChange
  }

  listing(): void {
    this.#listed = new Set()
  }

  page(objects: readonly ServerObject[]): void {
    for (const object of objects) this.#put(object)
  }

  listed(): void {
    for (const name of this.values.keys())
      if (!this.#listed.has(name)) this.values.delete(name)
    this.#onChange()
  }

  event(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: ServerObject): void {
    const isChanged =
      type === 'DELETED' ? this.values.delete(object.metadata.name) : this.#put(object)
    if (isChanged) this.#onChange()
  }

  onState(): void {
    // Nobody asks: decisions wait for a first list, and go on with the last state.
  }

  /** True when it says something else than before. */
  #put(object: ServerObject): boolean {
    const { name } = object.metadata
    this.#listed.add(name)
    const taken = this.#take(object)
    if (isDeepStrictEqual(taken, this.values.get(name))) return false
    this.values.set(name, taken)
    return true
  }
}
