// SPDX-License-Identifier: Apache-2.0
// The head of an HTTP/1.1 request as the pipeline reads it, or why it is refused. What node's parser refuses (RFC 9112:
// bare CR or LF, folded lines, two lengths, bad chunks) never comes here.
import type { IncomingMessage } from 'node:http'
import { RequestBody } from '../body.ts'
import type { Connection, Message } from '../exchange.ts'
import { fromRaw } from '../headers.ts'
import type { Options } from '../options.ts'
import { cleanTrailers } from '../trailers.ts'
import type { Shares } from './quota.ts'
import { isAuthority, readTarget, type Refusal, refuseEncoding } from './validity.ts'

/** `upgrade`: the protocol, when the request asks for a tunnel that it may have. */
export function readHttp1(
  request: IncomingMessage,
  connection: Connection,
  options: Options,
  shares: Shares,
  expectContinue: boolean,
  upgrade: string | undefined,
): Message | Refusal {
  const { method = 'GET', url = '' } = request
  if (request.httpVersionMajor !== 1)
    return refusal('BAD_REQUEST', `HTTP version ${request.httpVersion}`)
  if (request.rawHeaders.length > 2 * options.headerFields)
    return refusal('HEADER_TOO_LARGE', `more than ${options.headerFields} fields`)
  if (url.length > options.pathBytes)
    return refusal('TARGET_TOO_LONG', `more than ${options.pathBytes} bytes`)
  const target = readTarget(method, url)
  if (target === undefined) return refusal('BAD_REQUEST', 'request target')
  const headers = fromRaw(request.rawHeaders)
  const encoding = refuseEncoding(headers, request.httpVersionMinor === 0)
  if (encoding !== undefined) return encoding
  let host: string | undefined
  let length: number | undefined
  let chunked = false
  let to = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1] ?? ''
    if (name === 'host') {
      if (host !== undefined || !isAuthority(value)) return refusal('BAD_REQUEST', 'Host')
      host = value
      continue
    }
    if (name === 'expect') continue
    if (name === 'content-length') length = Number(value)
    else if (name === 'transfer-encoding') chunked = true
    headers[to++] = name
    headers[to++] = value
  }
  headers.length = to
  if (length !== undefined && (chunked || !Number.isSafeInteger(length)))
    return refusal('BAD_REQUEST', 'Content-Length')
  const hasBody = chunked || (length !== undefined && length > 0)
  return {
    method,
    path: target.path,
    authority: target.authority ?? host ?? defaultAuthority(connection),
    headers,
    body: hasBody
      ? new RequestBody(
          request,
          length,
          options.replayBytes,
          shares.replayRoom(connection.client.identity),
          () =>
            request.rawTrailers.length === 0
              ? undefined
              : cleanTrailers(fromRaw(request.rawTrailers)),
        )
      : undefined,
    upgrade,
    expectContinue: expectContinue && hasBody,
  }
}

/** HTTP/1.0 and HTTP/2 may leave the authority out: then it is what the client connected to. */
export function defaultAuthority({ service }: Connection): string {
  const [namespace = '', rest = ''] = service.name.split('/')
  return `${rest.split(':')[0] ?? ''}.${namespace}:${service.port}`
}

function refusal(code: Refusal['code'], detail: string): Refusal {
  return { code, detail }
}
