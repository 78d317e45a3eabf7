// SPDX-License-Identifier: Apache-2.0
// W3C Trace Context (level 2), and what else carries traces (trace/formats.ts): continued where it came in, started where
// not. The parent decides about sampling; without one, a ratio does.
import { randomFillSync } from 'node:crypto'
import { getHeader, type Headers, removeHeader, setHeader } from '../headers.ts'
import { type Format, formatsIn } from '../trace/formats.ts'

export type TraceContext = {
  /** 32 hex digits. */
  readonly traceId: string
  /** Span that our spans are children of; '' when we started the trace. */
  readonly parentId: string
  readonly sampled: boolean
  /** Of the request itself: what its attempts are children of. */
  readonly spanId: string
  /** Besides W3C, that came in and go on. */
  readonly formats: readonly Format[]
}

type Parent = Pick<TraceContext, 'traceId' | 'parentId' | 'sampled'>

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
export function parseTraceparent(text: string): Parent | undefined {
  const found = traceparentForm.exec(text)
  if (found === null) return undefined
  const [, version = '', traceId = '', parentId = '', flags = '', rest] = found
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/**
 * The context of a request: of the first format that is valid, W3C before all. More than one traceparent, or a broken one, is
 * not, and then tracestate is of another trace and must go (W3C 3.3). Formats that are not valid pass as they are.
 */
export function traceOf(
  headers: Headers,
  sampleRatio: number,
  random: number,
): TraceContext {
  const detected = formatsIn(headers)
  const spanId = randomHex(8)
  const own = w3c(headers)
  if (own !== undefined && detected.length === 0)
    return { ...own, spanId, formats: detected }
  const read = detected.map((format) => ({ format, said: format.read(headers) }))
  const valid = read.filter(({ said }) => said !== undefined)
  const parent = own ?? valid.find(({ said }) => said?.traceId !== '')?.said
  const decision =
    parent?.sampled ??
    valid.find(({ said }) => said?.sampled !== undefined)?.said?.sampled
  return {
    traceId: parent?.traceId ?? randomHex(16),
    parentId: parent?.parentId ?? '',
    sampled: decision ?? random < sampleRatio,
    spanId,
    formats: valid.map(({ format }) => format),
  }
}

function w3c(headers: Headers): Parent | undefined {
  const text = getHeader(headers, 'traceparent')
  const parent =
    text !== undefined && isSingle(headers) ? parseTraceparent(text) : undefined
  if (parent === undefined) {
    if (text !== undefined) removeHeader(headers, 'traceparent')
    removeHeader(headers, 'tracestate')
  }
  return parent
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
  if (trace.formats.length === 0) return
  const { traceId, sampled } = trace
  const outgoing = { traceId, sampled, spanId, parentId: trace.spanId }
  for (const format of trace.formats) format.write(headers, outgoing)
}
