// SPDX-License-Identifier: Apache-2.0
// PURE: how traces are carried, besides W3C Trace Context (filter/trace.ts). What came in is written again with our span as
// the parent; a format that nobody sent is never added, because flags that disagree are worse than none.
import { getHeader, type Headers, setHeader } from '../headers.ts'

/** What a format said. */
export type Carried = {
  /** 32 hex digits; '': it only says whether to sample. */
  readonly traceId: string
  /** 16 hex digits; '': the trace has no span yet. */
  readonly parentId: string
  /** undefined: left to us. */
  readonly sampled: boolean | undefined
}

/** What a format is to say. */
export type Outgoing = {
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string
  readonly sampled: boolean
}

export type Format = {
  readonly name: string
  /** Headers that give it away. */
  readonly headers: readonly string[]
  /** undefined: absent, or not valid. */
  readonly read: (headers: Headers) => Carried | undefined
  /** Only where it was read. In place. */
  readonly write: (headers: Headers, trace: Outgoing) => void
}

const grpc: Format = {
  name: 'grpc-trace-bin',
  headers: ['grpc-trace-bin'],
  read: (headers) => {
    const bytes = Buffer.from(getHeader(headers, 'grpc-trace-bin') ?? '', 'base64')
    // Version 0, then fields by number: 0 trace id, 1 span id, 2 options.
    if (bytes.length < 29 || bytes[0] !== 0 || bytes[1] !== 0) return undefined
    if (bytes[18] !== 1 || bytes[27] !== 2) return undefined
    const traceId = bytes.toString('hex', 2, 18)
    const sampled = ((bytes[28] ?? 0) & 1) === 1
    return carried(traceId, bytes.toString('hex', 19, 27), sampled)
  },
  write: (headers, { traceId, spanId, sampled }) => {
    const hex = `0000${traceId}01${spanId}02${sampled ? '01' : '00'}`
    const text = Buffer.from(hex, 'hex').toString('base64').replace(/=+$/, '')
    setHeader(headers, 'grpc-trace-bin', text)
  },
}

const b3Decision: Readonly<Record<string, boolean>> = {
  ...{ '0': false, '1': true, d: true },
  ...{ false: false, true: true },
}

const b3Single: Format = {
  name: 'b3',
  headers: ['b3'],
  read: (headers) => {
    const text = getHeader(headers, 'b3') ?? ''
    if (text in b3Decision) return onlySampled(b3Decision[text])
    const found =
      /^([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/.exec(
        text,
      )
    if (found === null) return undefined
    const [, traceId = '', parentId = '', decision = ''] = found
    return carried(traceId, parentId, b3Decision[decision])
  },
  write: (headers, { traceId, spanId, parentId, sampled }) => {
    const isDebug = /(^|-)d(-|$)/.test(getHeader(headers, 'b3') ?? '')
    const decision = isDebug ? 'd' : sampled ? '1' : '0'
    const parent = parentId === '' ? '' : `-${parentId}`
    setHeader(headers, 'b3', `${shortened(traceId)}-${spanId}-${decision}${parent}`)
  },
}

const b3Multi: Format = {
  name: 'b3 multi',
  headers: ['x-b3-traceid', 'x-b3-sampled', 'x-b3-flags'],
  read: (headers) => {
    const isDebug = getHeader(headers, 'x-b3-flags') === '1'
    const decision = b3Decision[getHeader(headers, 'x-b3-sampled') ?? '']
    const sampled = isDebug ? true : decision
    const traceId = (getHeader(headers, 'x-b3-traceid') ?? '').toLowerCase()
    const parentId = (getHeader(headers, 'x-b3-spanid') ?? '').toLowerCase()
    if (traceId === '') return sampled === undefined ? undefined : onlySampled(sampled)
    if (!/^([0-9a-f]{16}|[0-9a-f]{32})$/.test(traceId)) return undefined
    if (!/^[0-9a-f]{16}$/.test(parentId)) return undefined
    return carried(traceId, parentId, sampled)
  },
  write: (headers, { traceId, spanId, parentId, sampled }) => {
    setHeader(headers, 'x-b3-traceid', shortened(traceId))
    setHeader(headers, 'x-b3-spanid', spanId)
    if (parentId !== '') setHeader(headers, 'x-b3-parentspanid', parentId)
    // Debug implies sampled, and both at once are not to be sent.
    if (getHeader(headers, 'x-b3-flags') !== '1')
      setHeader(headers, 'x-b3-sampled', sampled ? '1' : '0')
  },
}

const jaeger: Format = {
  name: 'uber-trace-id',
  headers: ['uber-trace-id'],
  read: (headers) => {
    const text = jaegerText(headers)
    const found =
      /^([0-9a-f]{1,32}):([0-9a-f]{1,16}):[0-9a-f]{1,16}:([0-9a-f]{1,2})$/i.exec(text)
    if (found === null) return undefined
    const [, traceId = '', parentId = '', flags = ''] = found
    // Debug (2) is sampled, whatever bit 1 says.
    const sampled = (Number.parseInt(flags, 16) & 3) !== 0
    return carried(
      traceId.toLowerCase(),
      parentId.toLowerCase().padStart(16, '0'),
      sampled,
    )
  },
  write: (headers, { traceId, spanId, parentId, sampled }) => {
    const flags = Number.parseInt(jaegerText(headers).split(':')[3] ?? '0', 16)
    const debug = sampled ? flags & 2 : 0
    const text = [shortened(traceId), spanId, parentId || '0', debug | (sampled ? 1 : 0)]
    setHeader(headers, 'uber-trace-id', text.join(':'))
  },
}

/** Some clients encode it as part of an URL. */
function jaegerText(headers: Headers): string {
  return (getHeader(headers, 'uber-trace-id') ?? '').replace(/%3a/gi, ':')
}

const datadog: Format = {
  name: 'datadog',
  headers: ['x-datadog-trace-id'],
  read: (headers) => {
    const low = decimalToHex(getHeader(headers, 'x-datadog-trace-id'))
    if (low === undefined) return undefined
    const tags = getHeader(headers, 'x-datadog-tags') ?? ''
    const high = /(?:^|,)_dd\.p\.tid=([0-9a-f]{16})(?:,|$)/.exec(tags)?.[1] ?? ''
    const parentId = decimalToHex(getHeader(headers, 'x-datadog-parent-id')) ?? ''
    const priority = getHeader(headers, 'x-datadog-sampling-priority')
    const sampled = /^(-1|[012])$/.test(priority ?? '') ? Number(priority) > 0 : undefined
    return carried(high + low, parentId, sampled)
  },
  write: (headers, { traceId, spanId, sampled }) => {
    // Numbers beyond 2^53.
    setHeader(headers, 'x-datadog-trace-id', String(BigInt(`0x${traceId.slice(16)}`)))
    setHeader(headers, 'x-datadog-parent-id', String(BigInt(`0x${spanId}`)))
    // 2 and -1 are the user's own word: they stay where they say the same.
    const priority = Number(
      getHeader(headers, 'x-datadog-sampling-priority') ?? Number.NaN,
    )
    if (Number.isNaN(priority) || priority > 0 !== sampled)
      setHeader(headers, 'x-datadog-sampling-priority', sampled ? '1' : '0')
  },
}

function decimalToHex(text: string | undefined): string | undefined {
  if (text === undefined || !/^[0-9]{1,20}$/.test(text)) return undefined
  const number = BigInt(text)
  if (number === 0n || number > 0xffff_ffff_ffff_ffffn) return undefined
  return number.toString(16).padStart(16, '0')
}

const xray: Format = {
  name: 'x-amzn-trace-id',
  headers: ['x-amzn-trace-id'],
  read: (headers) => {
    const fields = xrayFields(headers)
    const root = /^1-([0-9a-f]{8})-([0-9a-f]{24})$/i.exec(fields.get('root') ?? '')
    if (root === null) return undefined
    const parent = fields.get('parent')?.toLowerCase() ?? ''
    const parentId = /^[0-9a-f]{16}$/.test(parent) ? parent : ''
    const decision = fields.get('sampled')
    const sampled = decision === '1' ? true : decision === '0' ? false : undefined
    return carried(`${root[1]}${root[2]}`.toLowerCase(), parentId, sampled)
  },
  write: (headers, { traceId, spanId, sampled }) => {
    const known = new Set(['root', 'parent', 'sampled'])
    const others = (getHeader(headers, 'x-amzn-trace-id') ?? '')
      .split(';')
      .filter((part) => part !== '' && !known.has(xrayName(part)))
    const root = `Root=1-${traceId.slice(0, 8)}-${traceId.slice(8)}`
    const own = [root, `Parent=${spanId}`, `Sampled=${sampled ? '1' : '0'}`]
    setHeader(headers, 'x-amzn-trace-id', [...own, ...others].join(';'))
  },
}

function xrayFields(headers: Headers): Map<string, string> {
  const parts = (getHeader(headers, 'x-amzn-trace-id') ?? '').split(';')
  return new Map(
    parts.map((part) => [xrayName(part), part.slice(part.indexOf('=') + 1).trim()]),
  )
}

function xrayName(part: string): string {
  return part.split('=')[0]?.trim().toLowerCase() ?? ''
}

const cloud: Format = {
  name: 'x-cloud-trace-context',
  headers: ['x-cloud-trace-context'],
  read: (headers) => {
    const text = getHeader(headers, 'x-cloud-trace-context') ?? ''
    const found = /^([0-9a-f]{32})(?:\/([0-9]{1,20}))?(?:;o=([01]))?$/i.exec(text)
    if (found === null) return undefined
    const [, traceId = '', span, option] = found
    const sampled = option === undefined ? undefined : option === '1'
    return carried(traceId.toLowerCase(), decimalToHex(span) ?? '', sampled)
  },
  write: (headers, { traceId, spanId, sampled }) => {
    const span = String(BigInt(`0x${spanId}`))
    setHeader(headers, 'x-cloud-trace-context', `${traceId}/${span};o=${sampled ? 1 : 0}`)
  },
}

/** In the order in which they are believed, after W3C. */
export const formats: readonly Format[] = [
  ...[grpc, b3Single, b3Multi, jaeger, datadog, xray, cloud],
]

/** A look at every header, once. */
const byHeader = new Map(
  formats.flatMap((format) => format.headers.map((name) => [name, format] as const)),
)

/** The formats that headers give away; nearly always none, and then nothing is allocated. */
export function formatsIn(headers: Headers): readonly Format[] {
  let found: Format[] | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const format = byHeader.get(headers[i] ?? '')
    if (format === undefined || found?.includes(format) === true) continue
    found = [...(found ?? []), format]
  }
  if (found === undefined) return none
  return formats.filter((format) => found.includes(format))
}

const none: readonly Format[] = []

/** Ids of zeros are none. */
function carried(
  traceId: string,
  parentId: string,
  sampled: boolean | undefined,
): Carried | undefined {
  if (/^0*$/.test(traceId)) return undefined
  const parent = /^0*$/.test(parentId) ? '' : parentId
  return { traceId: traceId.padStart(32, '0'), parentId: parent, sampled }
}

function onlySampled(sampled: boolean | undefined): Carried {
  return { traceId: '', parentId: '', sampled }
}

/** Ids of 64 bits stay as short as they came. */
function shortened(traceId: string): string {
  return traceId.startsWith('0000000000000000') ? traceId.slice(16) : traceId
}
