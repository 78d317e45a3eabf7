// SPDX-License-Identifier: Apache-2.0
// The objects and their history: what etcd is to an API server. One revision counter for everything, a bounded log of
// changes that watches read, and lists as of an older revision by undoing that log.
import type { KubeObject } from './types.ts'

/** One change. `object` carries the revision of this change, also when it is a deletion. */
export interface Change {
  readonly revision: number
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly collection: string
  readonly key: string
  readonly object: KubeObject
  readonly previous?: KubeObject
}

/** Changes that are remembered; older ones are compacted, as etcd does after five minutes. */
const defaultHistoryLimit = 20_000

const byKey = (a: [string, KubeObject], b: [string, KubeObject]): number =>
  a[0] < b[0] ? -1 : 1

/** Objects by collection and key, with history. */
export class Store {
  #revision = 1
  #log: Change[] = []
  readonly #collections = new Map<string, Map<string, KubeObject>>()
  readonly #listeners = new Set<(change: Change) => void>()
  readonly #historyLimit: number

  constructor(historyLimit = defaultHistoryLimit) {
    this.#historyLimit = historyLimit
  }

  /** The newest revision. */
  get revision(): number {
    return this.#revision
  }

  /** History starts after this revision: a watch or a list from before it is answered 410. */
  get compacted(): number {
    return (this.#log[0]?.revision ?? this.#revision + 1) - 1
  }

  get(collection: string, key: string): KubeObject | undefined {
    return this.#collections.get(collection)?.get(key)
  }

  /** Writes an object (with a new resourceVersion) and returns what is stored. */
  put(collection: string, key: string, object: KubeObject): KubeObject {
    const objects = this.#collections.get(collection) ?? new Map<string, KubeObject>()
    this.#collections.set(collection, objects)
    const previous = objects.get(key)
    const stored = this.#stamp(object)
    objects.set(key, stored)
    const type = previous === undefined ? 'ADDED' : 'MODIFIED'
    this.#record({ type, collection, key, object: stored, ...(previous && { previous }) })
    return stored
  }

  /** Removes an object; returns its last state, with the revision of the removal. */
  remove(collection: string, key: string): KubeObject | undefined {
    const previous = this.get(collection, key)
    if (previous === undefined) return undefined
    const object = this.#stamp(previous)
    this.#collections.get(collection)?.delete(key)
    this.#record({ type: 'DELETED', collection, key, object, previous })
    return object
  }

  /** Entries of a collection in key order, as of `revision`; undefined if that is compacted. */
  list(
    collection: string,
    revision = this.#revision,
  ): [string, KubeObject][] | undefined {
    if (revision < this.compacted) return undefined
    const now = this.#collections.get(collection)
    if (revision === this.#revision) return [...(now ?? [])].toSorted(byKey)
    const then = new Map(now)
    for (const change of this.since(revision).toReversed()) {
      if (change.collection !== collection) continue
      if (change.previous === undefined) then.delete(change.key)
      else then.set(change.key, change.previous)
    }
    return [...then].toSorted(byKey)
  }

  /** Changes after `revision`, oldest first. Only meaningful from `compacted` on. */
  since(revision: number): readonly Change[] {
    const first = this.#log[0]?.revision
    return first === undefined ? [] : this.#log.slice(Math.max(0, revision - first + 1))
  }

  /** The change right after `revision`, without copying the log. */
  next(revision: number): Change | undefined {
    const first = this.#log[0]?.revision
    return first === undefined ? undefined : this.#log[revision - first + 1]
  }

  /** Forgets all history. */
  compact(): void {
    this.#log = []
  }

  /** Calls `listener` after each change, before the writer is answered. Returns how to stop that. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #stamp(object: KubeObject): KubeObject {
    this.#revision++
    return {
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(this.#revision) },
    }
  }

  #record(change: Omit<Change, 'revision'>): void {
    const recorded = { ...change, revision: this.#revision }
    this.#log.push(recorded)
    // Trimmed in lumps: shifting one entry a write would copy the log each time.
    if (this.#log.length > this.#historyLimit * 1.1)
      this.#log = this.#log.slice(-this.#historyLimit)
    for (const listener of [...this.#listeners]) listener(recorded)
  }
}
