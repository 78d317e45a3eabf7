// SPDX-License-Identifier: Apache-2.0
// W3C Trace Context (level 2): continued where it came in, started where not. Other formats (b3, uber-trace-id,
// x-datadog-*, grpc-trace-bin…) pass through untouched, because the application decides which one it joins.
import { randomFillSync } from 'node:crypto'
import { getHeader, type Headers, removeHeader, setHeader } from '../headers.ts'

export type TraceContext = {
  /** 32 hex digits. */
  readonly traceId: string
  /** Span that our spans are children of; '' when we started the trace. */
  readonly parentId: string
  readonly sampled: boolean
}

const pool = Buffer.alloc(4096)
let used = pool.length

/** `bytes` random bytes in hex. From a pool: one system call for 170 requests. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const start = used
  used += bytes
  return pool.toString('hex', start, used)
}

const traceparentForm =
  /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** Undefined when the field is malformed, all zero, or of version ff; a newer version is read as 00 (4 fields). */
export function parseTraceparent(text: string): TraceContext | undefined {
  const found = traceparentForm.exec(text)
  if (found === null) return undefined
  const [, version = '', traceId = '', parentId = '', flags = '', rest] = found
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/**
 * The context of a request. More than one traceparent, or a broken one, starts a new trace, and then tracestate is of
 * another trace and must go (W3C 3.3).
 */
export function traceOf(
  headers: Headers,
  sampleRatio: number,
  random: number,
): TraceContext {
  const text = getHeader(headers, 'traceparent')
  if (text !== undefined) {
    const context = isSingle(headers) ? parseTraceparent(text) : undefined
    if (context !== undefined) return context
    removeHeader(headers, 'traceparent')
    removeHeader(headers, 'tracestate')
  }
  return { traceId: randomHex(16), parentId: '', sampled: random < sampleRatio }
}

function isSingle(headers: Headers): boolean {
  return headers.indexOf('traceparent') === headers.lastIndexOf('traceparent')
}

/** Writes the context with `spanId` as the parent of what the endpoint does. */
export function injectTrace(headers: Headers, trace: TraceContext, spanId: string): void {
  setHeader(
    headers,
    'traceparent',
    `00-${trace.traceId}-${spanId}-${trace.sampled ? '01' : '00'}`,
  )
}
