// SPDX-License-Identifier: Apache-2.0
// Headers of the proxy's own message model: one flat list, name, value, name, value…, names in lower case, order and
// duplicates kept. Flat, because that is what both codecs give and take; an object a message would cost more than the
// rest of the pipeline.

export type Headers = string[]

/** First value, or undefined. */
export function getHeader(headers: Headers, name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === name) return headers[i + 1]
  }
  return undefined
}

/** All values as one list (RFC 9110 5.3), or undefined. */
export function joinedHeader(headers: Headers, name: string): string | undefined {
  let joined: string | undefined
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== name) continue
    joined = joined === undefined ? headers[i + 1] : `${joined},${headers[i + 1]}`
  }
  return joined
}

/** First value of the cookie (RFC 6265 5.4). HTTP/2 may send every pair as a field of its own (RFC 9113 8.2.3). */
export function cookieValue(headers: Headers, name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== 'cookie') continue
    for (const pair of (headers[i + 1] ?? '').split(';')) {
      const equals = pair.indexOf('=')
      if (equals > 0 && pair.slice(0, equals).trim() === name)
        return pair.slice(equals + 1).trim()
    }
  }
  return undefined
}

/** Replaces every value with one; appends when there is none. */
export function setHeader(headers: Headers, name: string, value: string): void {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== name) continue
    headers[i + 1] = value
    removeFrom(headers, name, i + 2)
    return
  }
  headers.push(name, value)
}

/** Removes every value. */
export function removeHeader(headers: Headers, name: string): void {
  removeFrom(headers, name, 0)
}

function removeFrom(headers: Headers, name: string, start: number): void {
  let to = start
  for (let i = start; i < headers.length; i += 2) {
    if (headers[i] === name) continue
    if (to !== i) {
      headers[to] = headers[i] ?? ''
      headers[to + 1] = headers[i + 1] ?? ''
    }
    to += 2
  }
  headers.length = to
}

/** A list from what node's parsers give as an object, values possibly lists. */
export function fromObject(
  source: Readonly<Record<string, string | string[] | undefined>>,
): Headers {
  const headers: Headers = []
  for (const name in source) {
    const value = source[name]
    if (typeof value === 'string') headers.push(name, value)
    else if (value !== undefined) for (const each of value) headers.push(name, each)
  }
  return headers
}

/** A list from node's rawHeaders. */
export function fromRaw(raw: readonly string[]): Headers {
  const headers: Headers = new Array<string>(raw.length)
  for (let i = 0; i < raw.length; i += 2) {
    headers[i] = (raw[i] ?? '').toLowerCase()
    headers[i + 1] = raw[i + 1] ?? ''
  }
  return headers
}

/** Size of a header list as HTTP/2 counts it: names, values, and 32 for each field (RFC 9113 6.5.2). */
export function listBytes(raw: readonly string[]): number {
  let bytes = 16 * raw.length
  for (const text of raw) bytes += text.length
  return bytes
}
