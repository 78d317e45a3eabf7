// SPDX-License-Identifier: Apache-2.0
// PURE. What the answer of a rate limit service means for the request, with nothing in it that could break a message.
import { stripHopByHop } from '../filter/hop-by-hop.ts'
import {
  type HeaderValue,
  RateLimitResponse,
  RateLimitResponse_Code as Code,
} from '../gen/envoy/service/ratelimit/v3/rls.ts'
import type { Headers } from '../headers.ts'

/** Headers that an answer may add to the request, and to the response; further ones are left out. */
export const maxAddedHeaders = 32

export type LimitVerdict =
  | {
      readonly kind: 'ok'
      readonly requestHeaders: Headers
      readonly responseHeaders: Headers
    }
  | {
      readonly kind: 'over'
      /** Of the response. */
      readonly headers: Headers
      /** '': it says none. */
      readonly body: string
      /** Until the request may be tried again; 0: it does not say. */
      readonly waitMs: number
    }
  /** It answered neither that the request is under nor that it is over the limit. */
  | { readonly kind: 'unknown' }

/** Framing, and what is said between neighbours (RFC 9110 7.6.1); `trailer` and `te` belong to it. */
const framing = ['host', 'content-length', 'trailer', 'te', 'expect']
const refusedOfRequest = new Set([...framing, 'content-type', 'grpc-timeout'])
const refusedOfResponse = new Set([...framing, 'grpc-status', 'grpc-message'])

/** Throws on bytes that are no RateLimitResponse. */
export function verdictOf(bytes: Uint8Array): LimitVerdict {
  const answer = RateLimitResponse.decode(bytes)
  const responseHeaders = added(answer.responseHeadersToAdd, refusedOfResponse)
  if (answer.overallCode === Code.OK) {
    const requestHeaders = added(answer.requestHeadersToAdd, refusedOfRequest)
    // That of the answer that the endpoint gives is the endpoint's.
    return { kind: 'ok', requestHeaders, responseHeaders: without(responseHeaders) }
  }
  if (answer.overallCode !== Code.OVER_LIMIT) return { kind: 'unknown' }
  const waits = answer.statuses
    .filter(({ code }) => code === Code.OVER_LIMIT)
    .map(({ durationUntilReset: left }) => left)
    .map((left) => (left === undefined ? 0 : left.seconds * 1000 + left.nanos / 1e6))
  return {
    kind: 'over',
    headers: responseHeaders,
    body: answer.rawBody.toString(),
    waitMs: Math.max(0, ...waits),
  }
}

/** What may be added, in lower case; names and values that are not of a header's characters would be a second header. */
function added(values: readonly HeaderValue[], refused: ReadonlySet<string>): Headers {
  const headers: Headers = []
  for (const { key, value, rawValue } of values) {
    const name = key.toLowerCase()
    const text = (value === '' ? rawValue.toString('latin1') : value).trim()
    if (!isName(name) || !isValue(text)) continue
    if (refused.has(name) || name.startsWith('x-pillion-')) continue
    headers.push(name, text)
  }
  stripHopByHop(headers)
  headers.length = Math.min(headers.length, 2 * maxAddedHeaders)
  return headers
}

function without(headers: Headers): Headers {
  return headers.filter((_, i) => headers[i - (i % 2)] !== 'content-type')
}

/** A token (RFC 9110 5.6.2), so no pseudo field either. */
function isName(name: string): boolean {
  return /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/.test(name)
}

/** Visible bytes, spaces and tabs (RFC 9110 5.5). */
function isValue(text: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(text)
}
