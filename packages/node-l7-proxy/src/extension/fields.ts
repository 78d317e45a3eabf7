// SPDX-License-Identifier: Apache-2.0
// PURE: which header fields a filter may change, and the changes it made, to be applied when it has succeeded.
import { type Headers, removeHeader, setHeader } from '../headers.ts'
import type { FilterHeaders } from './filter.ts'

/** Changes as they cross between threads: operation, name, value, one after the other. */
export type Edits = string[]

/** Changes of one call, at most; and characters of a value. */
export const maxEdits = 64
export const maxValueLength = 8192

const framing = new Set([
  ...['connection', 'http2-settings', 'keep-alive', 'proxy-connection', 'te'],
  ...['transfer-encoding', 'upgrade', 'content-length', 'expect', 'host', 'trailer'],
])

const ofTheMesh = /^(x-forwarded-for$|x-envoy-|x-pillion-)/

/** A token (RFC 9110 5.6.2) in lower case; what begins with ":" is none. */
const token = /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/
/** A field value (RFC 9110 5.5) that every hop reads the same: visible ASCII, with spaces and tabs inside. */
const visible = /^(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?$/

/** The name in lower case. Throws a TypeError for one that a filter must not change. */
export function changeableName(name: string): string {
  const lower = String(name).toLowerCase()
  if (!token.test(lower))
    throw new TypeError(`${JSON.stringify(name)} is not the name of a header field`)
  if (framing.has(lower))
    throw new TypeError(`${lower} is about framing or routing: a filter cannot change it`)
  if (ofTheMesh.test(lower))
    throw new TypeError(`${lower} is the mesh's own: a filter cannot change it`)
  return lower
}

/** Throws a TypeError for what is no value of a header field. */
export function checkValue(name: string, value: string): void {
  if (typeof value !== 'string' || !visible.test(value))
    throw new TypeError(
      `the value of ${name} must be visible ASCII without spaces around it`,
    )
  if (value.length > maxValueLength)
    throw new TypeError(`the value of ${name} is longer than ${maxValueLength}`)
}

/** Makes a filter's changes, in the order in which it made them. */
export function applyEdits(headers: Headers, edits: Edits): void {
  for (let i = 0; i < edits.length; i += 3) {
    const name = edits[i + 1] ?? ''
    const value = edits[i + 2] ?? ''
    if (edits[i] === 'set') setHeader(headers, name, value)
    else if (edits[i] === 'append') headers.push(name, value)
    else removeHeader(headers, name)
  }
}

/** Header fields as a filter sees them: its own copy, with a list of what it did. */
export class EditableHeaders implements FilterHeaders {
  readonly edits: Edits = []
  readonly #headers: Headers

  /** `headers` are this object's from now on. */
  constructor(headers: Headers) {
    this.#headers = headers
  }

  get(name: string): string | undefined {
    return this.getAll(name)[0]
  }

  getAll(name: string): string[] {
    const lower = name.toLowerCase()
    return [...this].filter(([each]) => each === lower).map(([, value]) => value)
  }

  has(name: string): boolean {
    return this.getAll(name).length > 0
  }

  set(name: string, value: string): void {
    this.#edit('set', name, value)
  }

  append(name: string, value: string): void {
    this.#edit('append', name, value)
  }

  remove(name: string): void {
    this.#edit('remove', name, '')
  }

  *[Symbol.iterator](): Generator<readonly [string, string]> {
    const headers = this.#headers
    for (let i = 0; i < headers.length; i += 2)
      yield [headers[i] ?? '', headers[i + 1] ?? '']
  }

  #edit(operation: 'set' | 'append' | 'remove', name: string, value: string): void {
    const lower = changeableName(name)
    checkValue(lower, value)
    if (this.edits.length >= maxEdits * 3)
      throw new TypeError(`a filter may make ${maxEdits} changes to a header`)
    const edit = [operation, lower, value]
    this.edits.push(...edit)
    applyEdits(this.#headers, edit)
  }
}
