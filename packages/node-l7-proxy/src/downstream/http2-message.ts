// SPDX-License-Identifier: Apache-2.0
// The head of an HTTP/2 request as the pipeline reads it, or why it is refused. What nghttp2 refuses (RFC 9113 8: bytes in
// names and values, connection fields, pseudo fields out of place, lengths that lie) never comes here. It may have to be said in
// HTTP/1.1 to the endpoint, so whatever that could not say is refused as well.
import { METHODS } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import { RequestBody } from '../body.ts'
import type { Connection, Message } from '../exchange.ts'
import { fromRaw, type Headers, listBytes } from '../headers.ts'
import type { Options } from '../options.ts'
import { cleanTrailers } from '../trailers.ts'
import { defaultAuthority } from './http1-message.ts'
import type { Shares } from './quota.ts'
import { isAuthority, readTarget, type Refusal } from './validity.ts'

/** The methods that node's HTTP/1.1 parser knows: other endpoints and clients would not get through either way. */
const methods = new Set(METHODS)

type Fields = {
  readonly headers: Headers
  method: string
  path: string
  authority: string | undefined
  length: number | undefined
  expectContinue: boolean
}

/** `ended`: no body follows. */
export function readHttp2(
  stream: ServerHttp2Stream,
  connection: Connection,
  raw: readonly string[],
  ended: boolean,
  options: Options,
  shares: Shares,
): Message | Refusal {
  // node holds to the size that SETTINGS say only once the client has acknowledged them.
  if (listBytes(raw) > options.headerBytes)
    return refusal('HEADER_TOO_LARGE', `more than ${options.headerBytes} bytes`)
  const fields = readFields(raw)
  if ('code' in fields) return fields
  const { method, headers, length } = fields
  if (!methods.has(method)) return refusal('METHOD_UNSUPPORTED', 'method')
  if (fields.path.length > options.pathBytes)
    return refusal('TARGET_TOO_LONG', `more than ${options.pathBytes} bytes`)
  const { authority = defaultAuthority(connection) } = fields
  if (!isAuthority(authority)) return refusal('BAD_REQUEST', ':authority')
  const isConnect = method === 'CONNECT'
  const target = readTarget(method, isConnect ? authority : fields.path)
  if (target === undefined || (!isConnect && target.authority !== undefined))
    return refusal('BAD_REQUEST', ':path')
  let trailers: Headers | undefined
  if (!ended) {
    stream.on('trailers', (_headers, _flags, rawTrailers: string[]) => {
      trailers = cleanTrailers(fromRaw(rawTrailers))
    })
  }
  return {
    method,
    path: target.path,
    authority,
    headers,
    body: ended
      ? undefined
      : new RequestBody(
          stream,
          length,
          options.replayBytes,
          shares.replayRoom(connection.client.identity),
          () => trailers,
        ),
    upgrade: undefined,
    expectContinue: fields.expectContinue,
  }
}

function readFields(raw: readonly string[]): Fields | Refusal {
  const fields: Fields = {
    ...{ headers: [], method: '', path: '', authority: undefined },
    ...{ length: undefined, expectContinue: false },
  }
  const { headers } = fields
  let cookieAt = -1
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const value = raw[i + 1] ?? ''
    if (name === ':method') fields.method = value
    else if (name === ':path') fields.path = value
    else if (name === ':authority' || name === 'host') {
      // RFC 9113 8.3.1: one of them routes, the other would be believed by somebody.
      if (fields.authority !== undefined && fields.authority !== value)
        return refusal('BAD_REQUEST', ':authority and Host differ')
      fields.authority = value
    } else if (name === 'expect')
      fields.expectContinue = value.toLowerCase() === '100-continue'
    else if (name === 'cookie' && cookieAt >= 0) {
      // Crumbs become one field: HTTP/1.1 has no other form (RFC 9113 8.2.3).
      headers[cookieAt] = `${headers[cookieAt]}; ${value}`
    } else if (!name.startsWith(':')) {
      if (name === 'cookie') cookieAt = headers.length + 1
      else if (name === 'content-length') fields.length = Number(value)
      headers.push(name, value)
    }
  }
  return fields
}

function refusal(code: Refusal['code'], detail: string): Refusal {
  return { code, detail }
}
