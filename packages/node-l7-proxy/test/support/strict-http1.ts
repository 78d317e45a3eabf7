// SPDX-License-Identifier: Apache-2.0
// The oracle of the hostile tests: an HTTP/1.1 reader that takes what every reader takes alike and nothing else. Bytes that
// pass here mean the same to whatever server stands behind the proxy; everything else is a smuggled request in waiting.

export type Message = {
  /** First line without CRLF. */
  readonly start: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
  readonly trailers: readonly (readonly [name: string, value: string])[]
}

/** `message`: complete, `rest` follows it. `incomplete`: so far so good. `bad`: no two readers agree. */
export type Read =
  | { readonly kind: 'message'; readonly message: Message; readonly rest: Buffer }
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'bad'; readonly why: string }

const requestLine = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ (\/[!"$-~]*|\*) HTTP\/1\.1$/
const statusLine = /^HTTP\/1\.1 [1-9]\d\d [\t -~\x80-\xff]*$/
const fieldLine =
  /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*$/
const host = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(:\d{1,5})?$/
const inTrailers =
  /^(content-length|transfer-encoding|host|trailer|te|connection|authorization|cookie|content-encoding|content-type|x-pillion-.*)$/

class Bad extends Error {}
class Incomplete extends Error {}

/** Reads one request. */
export function readRequest(bytes: Buffer): Read {
  return read(bytes, requestLine, (_start, headers) => {
    const hosts = headers.filter(([name]) => name === 'host')
    if (hosts.length !== 1 || !host.test(hosts[0]?.[1] ?? ''))
      throw new Bad(`host: ${JSON.stringify(hosts)}`)
    return 0
  })
}

/** Reads one final answer (not to HEAD). With `ended`, an answer without a length goes on to the end. */
export function readResponse(bytes: Buffer, ended: boolean): Read {
  const otherwise = ended ? 'rest' : 'none'
  return read(bytes, statusLine, (start) =>
    / (1\d\d|204|304) /.test(start) ? 'none' : otherwise,
  )
}

function read(
  bytes: Buffer,
  first: RegExp,
  otherwiseOf: (start: string, headers: Message['headers']) => 'none' | 0 | 'rest',
): Read {
  const cursor = new Cursor(bytes.toString('latin1'))
  try {
    const start = cursor.line()
    if (!first.test(start)) throw new Bad(`first line ${JSON.stringify(start)}`)
    const headers = cursor.fields()
    const framing = headers.filter(
      ([name]) => name === 'content-length' || name === 'transfer-encoding',
    )
    const otherwise = otherwiseOf(start, headers)
    if (framing.length > 1) throw new Bad(`framed twice: ${JSON.stringify(framing)}`)
    const [name, value = ''] = otherwise === 'none' ? [] : (framing[0] ?? [])
    let body = ''
    let trailers: Message['headers'] = []
    if (name === 'transfer-encoding') {
      if (value !== 'chunked') throw new Bad(`transfer-encoding: ${value}`)
      body = cursor.chunks()
      trailers = cursor.fields()
      const wrong = trailers.find(([each]) => inTrailers.test(each))
      if (wrong !== undefined) throw new Bad(`${wrong[0]} in trailers`)
    } else if (name === 'content-length') {
      if (!/^\d{1,15}$/.test(value)) throw new Bad(`content-length: ${value}`)
      body = cursor.take(Number(value))
    } else body = otherwise === 'rest' ? cursor.all() : ''
    const message = { start, headers, body, trailers }
    return { kind: 'message', message, rest: bytes.subarray(cursor.at) }
  } catch (error) {
    if (error instanceof Incomplete) return { kind: 'incomplete' }
    if (error instanceof Bad) return { kind: 'bad', why: error.message }
    throw error
  }
}

class Cursor {
  readonly #text: string
  at = 0

  constructor(text: string) {
    this.#text = text
  }

  line(): string {
    const end = this.#text.indexOf('\n', this.at)
    if (end < 0) {
      const lone = /\r(?!$)/.exec(this.#text.slice(this.at))
      if (lone !== null) throw new Bad('CR without LF')
      throw new Incomplete()
    }
    const line = this.#text.slice(this.at, end)
    this.at = end + 1
    if (!line.endsWith('\r')) throw new Bad(`LF without CR after ${JSON.stringify(line)}`)
    return line.slice(0, -1)
  }

  fields(): [string, string][] {
    const fields: [string, string][] = []
    for (let line = this.line(); line !== ''; line = this.line()) {
      const found = fieldLine.exec(line)
      if (found === null) throw new Bad(`field ${JSON.stringify(line)}`)
      fields.push([(found[1] ?? '').toLowerCase(), found[2] ?? ''])
    }
    return fields
  }

  chunks(): string {
    let body = ''
    for (;;) {
      const size = this.line()
      if (!/^[0-9a-fA-F]{1,8}$/.test(size))
        throw new Bad(`chunk size ${JSON.stringify(size)}`)
      const length = Number.parseInt(size, 16)
      if (length === 0) return body
      body += this.take(length)
      if (this.line() !== '') throw new Bad('a chunk longer than its size')
    }
  }

  take(length: number): string {
    if (this.#text.length < this.at + length) throw new Incomplete()
    this.at += length
    return this.#text.slice(this.at - length, this.at)
  }

  all(): string {
    return this.take(this.#text.length - this.at)
  }
}
