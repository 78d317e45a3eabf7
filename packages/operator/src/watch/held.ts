// SPDX-License-Identifier: Apache-2.0
// What is held of the objects of one kind, and what of it changes by what the server says: the part of the Kubernetes source
// without a network.
import { isDeepStrictEqual } from 'node:util'
import {
  objectKey,
  parseObject,
  type ApiKind,
  type ApiObject,
  type RawObject,
  type ValidationError,
} from '../api/object.ts'
import type { ServerObject } from './reflector.ts'

/** Objects of an API server are in no file. */
const noFile = ''

/** An object of which we write the status, as the server showed it last. */
export interface Shown {
  readonly uid: string
  readonly resourceVersion: string
  readonly generation: number
  readonly status: unknown
  /** spec.parentRefs as written: an invalid route has none that was parsed. */
  readonly parentRefs: unknown
  /** spec.targetRefs of a policy, as written. */
  readonly targetRefs: unknown
}

/** Takes changes of what is in force; the later of two for a key wins. */
export interface Changes {
  upsert(key: string, object: ApiObject): void
  remove(key: string): void
}

interface Entry {
  readonly uid: string
  /** The newest valid version; undefined: none ever was. */
  readonly object: ApiObject | undefined
  readonly errors: readonly ValidationError[]
  readonly shown: Shown | undefined
}

/** Annotations of others (last-applied-configuration, status of controllers) can be larger than all that compile needs. */
const ownAnnotation =
  /^(?:(?:[a-z0-9.-]+\.)?pillion\.dev\/|kubernetes\.io\/config\.mirror$)/

/**
 * Objects of one kind by key. Only the parsed form is kept, which has exactly the fields that compile needs. An object that
 * becomes invalid keeps its last good version; that memory ends with the process.
 */
export class Held {
  readonly #kind: ApiKind
  readonly #apiVersion: string
  readonly #withStatus: boolean
  readonly #entries = new Map<string, Entry>()
  #seen = new Set<string>()
  #errorCount = 0

  constructor(kind: ApiKind, apiVersion: string, withStatus: boolean) {
    this.#kind = kind
    this.#apiVersion = apiVersion
    this.#withStatus = withStatus
  }

  get size(): number {
    return this.#entries.size
  }

  shown(key: string): Shown | undefined {
    return this.#entries.get(key)?.shown
  }

  uid(key: string): string | undefined {
    return this.#entries.get(key)?.uid
  }

  keys(): IterableIterator<string> {
    return this.#entries.keys()
  }

  /** All that is wrong now. */
  errors(): ValidationError[] {
    if (this.#errorCount === 0) return []
    return [...this.#entries.values()].flatMap(({ errors }) => errors)
  }

  /** A list begins. */
  listing(): void {
    this.#seen = new Set()
  }

  /** The list is complete: removes what it did not name. */
  listed(changes: Changes): void {
    for (const key of this.#entries.keys())
      if (!this.#seen.has(key)) this.#remove(key, changes)
    this.#seen = new Set()
  }

  /** Every object goes: their kind is no more. */
  clear(changes: Changes): void {
    for (const key of this.#entries.keys()) this.#remove(key, changes)
  }

  delete(object: ServerObject, changes: Changes): void {
    this.#remove(this.#keyOf(object), changes)
  }

  /** Takes over an object of a list or an event; returns its key. */
  put(object: ServerObject, changes: Changes): string {
    const key = this.#keyOf(object)
    this.#seen.add(key)
    const known = this.#entries.get(key)
    const uid = textOf(object.metadata['uid'])
    // Another object of the same name: the old one's last good version is none of its own.
    const before = known?.uid === uid ? known : undefined
    const { object: parsed, errors } = parseObject(
      this.#kind,
      prune(object, this.#kind, this.#apiVersion),
      noFile,
    )
    const same = parsed !== undefined && isDeepStrictEqual(parsed, before?.object)
    const next = same ? before?.object : (parsed ?? before?.object)
    this.#set(key, {
      uid,
      object: next,
      errors,
      shown: this.#withStatus ? shownOf(object) : undefined,
    })
    if (next === undefined) {
      if (known?.object !== undefined) changes.remove(key)
    } else if (next !== known?.object) changes.upsert(key, next)
    return key
  }

  #set(key: string, entry: Entry): void {
    this.#errorCount -= this.#entries.get(key)?.errors.length ?? 0
    this.#errorCount += entry.errors.length
    this.#entries.set(key, entry)
  }

  #remove(key: string, changes: Changes): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#errorCount -= entry.errors.length
    this.#entries.delete(key)
    if (entry.object !== undefined) changes.remove(key)
  }

  #keyOf({ metadata }: ServerObject): string {
    return objectKey(this.#kind, metadata.namespace ?? '', metadata.name)
  }
}

/** The object as a manifest would say it. Every other field that compile does not need is dropped by the kind's schema. */
function prune(object: ServerObject, kind: ApiKind, apiVersion: string): RawObject {
  const annotations = object.metadata['annotations']
  const own = Object.entries((annotations ?? {}) as Record<string, unknown>).filter(
    ([name]) => ownAnnotation.test(name),
  )
  const metadata = { ...object.metadata, annotations: Object.fromEntries(own) }
  return { ...object, apiVersion, kind, metadata }
}

/** What the status writer has to know of an object. */
export function shownOf({ metadata, ...object }: ServerObject): Shown {
  const { generation, resourceVersion = '', uid } = metadata
  const spec = object['spec'] as Record<string, unknown> | undefined
  return {
    uid: textOf(uid),
    resourceVersion,
    generation: typeof generation === 'number' ? generation : 0,
    status: object['status'],
    parentRefs: spec?.['parentRefs'],
    targetRefs: spec?.['targetRefs'],
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
