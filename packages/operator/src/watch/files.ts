// SPDX-License-Identifier: Apache-2.0
// What each file says, and which objects are in force because of it: the part of the directory source without a disk.
import { isDeepStrictEqual } from 'node:util'
import { readDocuments, type Document } from '../api/manifest.ts'
import {
  apiKindOf,
  describeKey,
  keyOf,
  parseObject,
  rawKey,
  type ApiKind,
  type ApiObject,
  type Parsed,
  type RawObject,
  type ValidationError,
} from '../api/object.ts'
import type { SourceChange } from './source.ts'

interface FileState {
  readonly documents: readonly Document[]
  /** In force by this file, by key: the newest valid version. */
  readonly objects: ReadonlyMap<string, Held>
  readonly errors: readonly ValidationError[]
  /** Keys of objects that the text no longer says in a valid form: an earlier version is in force. */
  readonly heldBack: ReadonlySet<string>
}

/** An object that is in force although its file does not say it any more. */
export interface LastGood {
  readonly path: string
  readonly raw: RawObject
}

interface Held {
  readonly raw: RawObject
  readonly object: ApiObject
}

const noFile: FileState = {
  documents: [],
  objects: new Map(),
  errors: [],
  heldBack: new Set(),
}

/** Files by path. The same object in two files: the first path in order wins, the other is reported. */
export class Files {
  readonly #files = new Map<string, FileState>()
  readonly #owners = new Map<string, Set<string>>()
  /** What was reported last, by key. */
  readonly #inForce = new Map<string, ApiObject>()
  readonly #generations = new Map<string, number>()

  /** Before the first update: what an earlier run held back. What the files say decides, if it is valid. */
  seed(lastGood: readonly LastGood[]): void {
    for (const { path, raw } of lastGood) {
      const kind = apiKindOf(raw)
      const object = kind && parseServed(kind, raw, path).object
      if (object === undefined) continue // an older release's idea of valid
      const before = this.#files.get(path) ?? noFile
      const objects = new Map([...before.objects, [keyOf(object), { raw, object }]])
      this.#files.set(path, { ...before, objects })
    }
  }

  /** What is to be seeded after a restart. */
  heldBack(): LastGood[] {
    return [...this.#files].flatMap(([path, { heldBack, objects }]) =>
      [...heldBack].flatMap((key) => {
        const raw = objects.get(key)?.raw
        return raw === undefined ? [] : [{ path, raw }]
      }),
    )
  }

  /** Takes over the new text of files; undefined: the file is gone. Returns what changed by it. */
  update(texts: ReadonlyMap<string, string | undefined>): SourceChange {
    const touched = new Set<string>()
    for (const [path, text] of texts) {
      const before = this.#files.get(path) ?? noFile
      const after = text === undefined ? noFile : readFile(path, text, before)
      if (text === undefined) this.#files.delete(path)
      else this.#files.set(path, after)
      for (const key of before.objects.keys()) {
        touched.add(key)
        if (!after.objects.has(key)) this.#owners.get(key)?.delete(path)
      }
      for (const key of after.objects.keys()) {
        touched.add(key)
        const owners = this.#owners.get(key)
        if (owners === undefined) this.#owners.set(key, new Set([path]))
        else owners.add(path)
      }
    }
    return this.#report(touched)
  }

  /** A file that cannot be read: what it said last stays in force. */
  fail(path: string, message: string): SourceChange {
    const before = this.#files.get(path) ?? noFile
    const errors = [{ file: path, object: '', key: '', field: '', message }]
    const heldBack = new Set(before.objects.keys())
    this.#files.set(path, { ...before, documents: [], errors, heldBack })
    return this.#report(new Set())
  }

  paths(): IterableIterator<string> {
    return this.#files.keys()
  }

  #report(touched: ReadonlySet<string>): SourceChange {
    const upserts: ApiObject[] = []
    const removals: string[] = []
    for (const key of touched) {
      const held = this.#winner(key)
      const before = this.#inForce.get(key)
      if (held === undefined) {
        this.#owners.delete(key)
        if (this.#inForce.delete(key)) removals.push(key)
        continue
      }
      const object = this.#numbered(key, held.object, before)
      if (object === before) continue
      this.#inForce.set(key, object)
      upserts.push(object)
    }
    return { upserts, removals, errors: this.#errors() }
  }

  #winner(key: string): Held | undefined {
    const [path] = [...(this.#owners.get(key) ?? [])].sort()
    return path === undefined ? undefined : this.#files.get(path)?.objects.get(key)
  }

  /** The object with a generation: a file has none, so one is counted here. */
  #numbered(key: string, object: ApiObject, before: ApiObject | undefined): ApiObject {
    if (object.metadata.generation !== undefined) {
      return isDeepStrictEqual(object, before) ? (before as ApiObject) : object
    }
    const generation = this.#generations.get(key) ?? 1
    const same = { ...object, metadata: { ...object.metadata, generation } } as ApiObject
    if (isDeepStrictEqual(same, before)) return before as ApiObject
    const next = before === undefined ? generation : generation + 1
    this.#generations.set(key, next)
    return { ...object, metadata: { ...object.metadata, generation: next } } as ApiObject
  }

  #errors(): ValidationError[] {
    const errors = [...this.#files.values()].flatMap((file) => file.errors)
    for (const [key, owners] of this.#owners) {
      if (owners.size < 2) continue
      const [first, ...others] = [...owners].sort()
      const object = describeKey(key)
      const message = `is also in ${first}, which wins`
      for (const file of others) errors.push({ file, object, key, field: '', message })
    }
    return errors
  }
}

/** The next state of a file: what is invalid keeps its last good version from `before`. */
function readFile(path: string, text: string, before: FileState): FileState {
  const documents = readDocuments(text, before.documents)
  const objects = new Map<string, Held>()
  const errors: ValidationError[] = []
  const named = new Set<string>()
  const heldBack = new Set<string>()
  let unreadable = false
  for (const { objects: raws, error } of documents) {
    if (error !== undefined) {
      unreadable = true
      errors.push({ file: path, object: '', key: '', field: '', message: error })
    }
    for (const raw of raws) {
      const kind = apiKindOf(raw)
      if (kind === undefined) continue
      const key = rawKey(raw)
      if (named.has(key)) {
        errors.push({
          file: path,
          object: describeKey(key),
          key,
          field: '',
          message: 'is twice in this file; the first wins',
        })
        continue
      }
      named.add(key)
      const held = before.objects.get(key)
      // The document was not parsed again, so its objects are the same values.
      const parsed =
        held?.raw === raw
          ? { object: held.object, errors: [] }
          : parseServed(kind, raw, path)
      errors.push(...parsed.errors)
      if (parsed.object !== undefined)
        objects.set(keyOf(parsed.object), { raw, object: parsed.object })
      else if (held !== undefined) {
        objects.set(key, held)
        heldBack.add(key)
      }
    }
  }
  // Which object an unreadable document was about is not known: none that the file held is taken away.
  if (unreadable) {
    for (const [key, held] of before.objects) {
      if (named.has(key)) continue
      objects.set(key, held)
      heldBack.add(key)
    }
  }
  return { documents, objects, errors, heldBack }
}

const nameLabel = 'kubernetes.io/metadata.name'

/** A namespace has its name as a label: the API server sees to it, and there is none here. */
function parseServed(kind: ApiKind, raw: RawObject, path: string): Parsed {
  const parsed = parseObject(kind, raw, path)
  if (parsed.object?.kind !== 'Namespace') return parsed
  const { metadata } = parsed.object
  const labels = { ...metadata.labels, [nameLabel]: metadata.name }
  const object = { ...parsed.object, metadata: { ...metadata, labels } }
  return { object, errors: [] }
}
