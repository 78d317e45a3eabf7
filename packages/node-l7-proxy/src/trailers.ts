// SPDX-License-Identifier: Apache-2.0
// Trailers come after everything was decided: what they say must not change it.
import type { Headers } from './headers.ts'

/** Names that mean nothing, or too much, once the header is gone (RFC 9110 6.5.1): never taken from trailers. */
const notInTrailers = new Set([
  ...['authorization', 'cache-control', 'connection', 'content-encoding'],
  ...['content-length', 'content-range', 'content-type', 'cookie', 'expect', 'host'],
  ...['keep-alive', 'max-forwards', 'proxy-authorization', 'proxy-connection', 'range'],
  ...['set-cookie', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings'],
  ...['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'],
  ...['location', 'traceparent', 'tracestate', 'www-authenticate', 'x-request-id'],
])

/** Trailers without what only a header may say; undefined when nothing is left. */
export function cleanTrailers(trailers: Headers | undefined): Headers | undefined {
  if (trailers === undefined) return undefined
  const kept: Headers = []
  for (let i = 0; i < trailers.length; i += 2) {
    const name = trailers[i] ?? ''
    if (notInTrailers.has(name) || name.startsWith('x-pillion-')) continue
    kept.push(name, trailers[i + 1] ?? '')
  }
  return kept.length === 0 ? undefined : kept
}
