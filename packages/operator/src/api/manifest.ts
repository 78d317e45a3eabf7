// SPDX-License-Identifier: Apache-2.0
// The text of a manifest file to objects. A file is a list of documents; one that cannot be read does not hide the others.
import { LineCounter, parseDocument } from 'yaml'
import { messageOf } from '../errors.ts'
import { describeKey, rawKey, type RawObject } from './object.ts'

/** Manifest files; what starts with a dot is somebody's temporary file. */
const manifestName = /^[^.].*\.(ya?ml|json)$/
/** package.json and tsconfig.json of an application beside its manifests are none. */
const foreignName = /^(package(-lock)?|tsconfig.*)\.json$/

/** True when a file of this name is read as a manifest. */
export function isManifest(name: string): boolean {
  return manifestName.test(name) && !foreignName.test(name)
}

/** One document of a file: its objects (a List has several), or why it cannot be read. */
export interface Document {
  readonly text: string
  readonly objects: readonly RawObject[]
  readonly error: string | undefined
}

/**
 * The documents of `text`. Those whose text is also in `known` are not parsed again: a file of a thousand objects of which one
 * changed costs one.
 */
export function readDocuments(text: string, known: readonly Document[] = []): Document[] {
  const before = new Map(known.map((document) => [document.text, document]))
  return split(text).flatMap(({ body, line }) => {
    const same = before.get(body)
    // Messages carry line numbers, so only what was readable can be taken over.
    if (same !== undefined && same.error === undefined) return [same]
    return [readDocument(body, line)]
  })
}

/** Pieces between lines that start with "---": YAML lets no such line be inside of a document (YAML 1.2.2, 9.1.4). */
function split(text: string): { body: string; line: number }[] {
  const pieces: { body: string; line: number }[] = []
  let start = 0
  let line = 1
  for (const match of text.matchAll(/^---(?=\s|$)/gm)) {
    if (match.index > start) pieces.push({ body: text.slice(start, match.index), line })
    line += text.slice(start, match.index).split('\n').length - 1
    start = match.index
  }
  pieces.push({ body: text.slice(start), line })
  return pieces
}

function readDocument(text: string, firstLine: number): Document {
  const bad = (error: string): Document => ({ text, objects: [], error })
  try {
    const lineCounter = new LineCounter()
    const document = parseDocument(text, { lineCounter, prettyErrors: false })
    const [error] = document.errors
    if (error !== undefined) {
      const { line } = lineCounter.linePos(error.pos[0])
      return bad(`line ${line + firstLine - 1}: ${error.message}`)
    }
    // Limits of aliases are the library's (100): a bomb is an error here.
    const value: unknown = document.toJS()
    if (value === null || value === undefined)
      return { text, objects: [], error: undefined }
    return { text, objects: flatten(value), error: undefined }
  } catch (error) {
    return bad(`line ${firstLine}: ${messageOf(error)}`)
  }
}

function flatten(value: unknown): RawObject[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError('a manifest is a mapping with apiVersion, kind and metadata')
  }
  const { apiVersion, kind, metadata, items } = value as Record<string, unknown>
  if (typeof apiVersion !== 'string' || apiVersion === '')
    throw new TypeError('apiVersion: missing')
  if (typeof kind !== 'string' || kind === '') throw new TypeError('kind: missing')
  if (kind === 'List' && Array.isArray(items)) return items.flatMap(flatten)
  const { name, namespace } = (metadata ?? {}) as Record<string, unknown>
  if (typeof name !== 'string' || name === '')
    throw new TypeError(`${kind}: metadata.name: missing`)
  if (namespace !== undefined && typeof namespace !== 'string') {
    throw new TypeError(`${kind} ${name}: metadata.namespace: must be a string`)
  }
  return [value as RawObject]
}

/** "Kind namespace/name" of an object as written. */
export function describe(raw: RawObject): string {
  return describeKey(rawKey(raw))
}
