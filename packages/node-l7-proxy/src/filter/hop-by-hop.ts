// SPDX-License-Identifier: Apache-2.0
// What is between two neighbours only and must not be forwarded (RFC 9110 7.6.1).
import type { Headers } from '../headers.ts'

const hopByHop = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
])

/**
 * Connection may name any field, but not these: removing them would change the meaning of the message, and a client could
 * hide its own credentials or trace from the next one.
 */
const protectedNames = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-type',
  'cookie',
  'date',
  'expect',
  'grpc-timeout',
  'host',
  'traceparent',
  'tracestate',
  'trailer',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-request-id',
])

/** Removes hop-by-hop fields from a message in place, in one pass; a second one only where Connection names fields. */
export function stripHopByHop(headers: Headers): void {
  let to = 0
  let named: string | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1] ?? ''
    if (hopByHop.has(name)) {
      if (name === 'connection' && !isPlain(value))
        named = named === undefined ? value : `${named},${value}`
      continue
    }
    headers[to++] = name
    headers[to++] = value
  }
  headers.length = to
  if (named !== undefined) removeNamed(headers, named)
}

function isPlain(value: string): boolean {
  return value === 'keep-alive' || value === 'close' || value === 'Keep-Alive'
}

function removeNamed(headers: Headers, list: string): void {
  const names = new Set(
    list
      .toLowerCase()
      .split(',')
      .map((name) => name.trim())
      .filter((name) => !protectedNames.has(name)),
  )
  let to = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (names.has(name)) continue
    headers[to++] = name
    headers[to++] = headers[i + 1] ?? ''
  }
  headers.length = to
}
