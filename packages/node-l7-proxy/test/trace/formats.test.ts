// SPDX-License-Identifier: Apache-2.0
// Every format: what comes in, what goes out. Out is what a tracer of that format reads as a child of our span.
import t from 'tap'
import { injectTrace, traceOf } from '../../src/filter/trace.ts'
import { getHeader } from '../../src/headers.ts'

const long = '0af7651916cd43dd8448eb211c80319c'
const short = '8448eb211c80319c'
const span = 'b7ad6b7169203331'
const ours = '00f067aa0ba902b7'
const oursDecimal = '67667974448284343'

type Row = {
  name: string
  sent: string[]
  traceId?: string
  parentId?: string
  sampled?: boolean
  /** As the endpoint gets it, besides traceparent; <self> is the id of the request's own span. */
  out: Record<string, string>
}

const padded = `0000000000000000${short}`
const grpcBin = (traceId: string, spanId: string, flags: string): string =>
  Buffer.from(`0000${traceId}01${spanId}02${flags}`, 'hex').toString('base64')

const rows: Row[] = [
  {
    name: 'b3 single',
    sent: ['b3', `${long}-${span}-1-05e3ac9a4f6e3b90`],
    ...{ traceId: long, parentId: span, sampled: true },
    out: { b3: `${long}-${ours}-1-<self>` },
  },
  {
    name: 'b3 single of 64 bits, debug',
    sent: ['b3', `${short}-${span}-d`],
    ...{ traceId: padded, parentId: span, sampled: true },
    out: { b3: `${short}-${ours}-d-<self>` },
  },
  {
    name: 'b3 single that leaves the decision',
    sent: ['b3', `${long}-${span}`],
    ...{ traceId: long, parentId: span, sampled: false },
    out: { b3: `${long}-${ours}-0-<self>` },
  },
  { name: 'b3 that only denies', sent: ['b3', '0'], sampled: false, out: {} },
  { name: 'b3 that only wants', sent: ['b3', '1'], sampled: true, out: {} },
  {
    name: 'b3 multi',
    sent: [
      ...['x-b3-traceid', long, 'x-b3-spanid', span, 'x-b3-sampled', 'true'],
      ...['x-b3-parentspanid', '05e3ac9a4f6e3b90'],
    ],
    ...{ traceId: long, parentId: span, sampled: true },
    out: {
      ...{ 'x-b3-traceid': long, 'x-b3-spanid': ours, 'x-b3-sampled': '1' },
      'x-b3-parentspanid': '<self>',
    },
  },
  {
    name: 'b3 multi with debug has no sampled beside it',
    sent: ['x-b3-traceid', short, 'x-b3-spanid', span, 'x-b3-flags', '1'],
    ...{ traceId: padded, parentId: span, sampled: true },
    out: {
      ...{ 'x-b3-traceid': short, 'x-b3-spanid': ours, 'x-b3-flags': '1' },
      'x-b3-parentspanid': '<self>',
    },
  },
  {
    name: 'b3 single wins over multi',
    sent: ['x-b3-traceid', short, 'x-b3-spanid', span, 'b3', `${long}-${span}-0`],
    ...{ traceId: long, parentId: span, sampled: false },
    out: {
      ...{ b3: `${long}-${ours}-0-<self>`, 'x-b3-traceid': long, 'x-b3-spanid': ours },
      ...{ 'x-b3-sampled': '0', 'x-b3-parentspanid': '<self>' },
    },
  },
  {
    name: 'Jaeger, without padding',
    sent: ['uber-trace-id', '48eb211c80319c:7ad6b7169203331:0:1'],
    ...{ traceId: '00000000000000000048eb211c80319c', parentId: '07ad6b7169203331' },
    sampled: true,
    out: { 'uber-trace-id': `0048eb211c80319c:${ours}:<self>:1` },
  },
  {
    name: 'Jaeger, encoded, debug',
    sent: ['uber-trace-id', `${long}%3A${span}%3a0%3A3`],
    ...{ traceId: long, parentId: span, sampled: true },
    out: { 'uber-trace-id': `${long}:${ours}:<self>:3` },
  },
  {
    name: 'Jaeger, not sampled',
    sent: ['uber-trace-id', `${long}:${span}:0:0`],
    ...{ traceId: long, parentId: span, sampled: false },
    out: { 'uber-trace-id': `${long}:${ours}:<self>:0` },
  },
  {
    name: 'Datadog with the high half',
    sent: [
      ...[
        'x-datadog-trace-id',
        '9532127138774266268',
        'x-datadog-sampling-priority',
        '2',
      ],
      ...['x-datadog-parent-id', '13235353014750950193', 'x-datadog-origin', 'rum'],
      ...['x-datadog-tags', '_dd.p.dm=-4,_dd.p.tid=0af7651916cd43dd'],
    ],
    ...{ traceId: long, parentId: span, sampled: true },
    out: {
      ...{ 'x-datadog-trace-id': '9532127138774266268', 'x-datadog-origin': 'rum' },
      ...{ 'x-datadog-parent-id': oursDecimal, 'x-datadog-sampling-priority': '2' },
      'x-datadog-tags': '_dd.p.dm=-4,_dd.p.tid=0af7651916cd43dd',
    },
  },
  {
    name: 'Datadog, the largest number, refused by the user',
    sent: [
      ...['x-datadog-trace-id', '18446744073709551615', 'x-datadog-parent-id', '1'],
      ...['x-datadog-sampling-priority', '-1'],
    ],
    ...{ traceId: '0000000000000000ffffffffffffffff', parentId: '0000000000000001' },
    sampled: false,
    out: {
      'x-datadog-trace-id': '18446744073709551615',
      ...{ 'x-datadog-parent-id': oursDecimal, 'x-datadog-sampling-priority': '-1' },
    },
  },
  {
    name: 'X-Ray',
    sent: [
      'x-amzn-trace-id',
      `Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=${span};Sampled=1;Lineage=a:1`,
    ],
    ...{ traceId: long, parentId: span, sampled: true },
    out: {
      'x-amzn-trace-id': `Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=${ours};Sampled=1;Lineage=a:1`,
    },
  },
  {
    name: 'X-Ray from a load balancer',
    sent: ['x-amzn-trace-id', 'Root=1-0af76519-16cd43dd8448eb211c80319c;Sampled=?'],
    ...{ traceId: long, parentId: '', sampled: false },
    out: {
      'x-amzn-trace-id': `Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=${ours};Sampled=0`,
    },
  },
  {
    name: 'grpc-trace-bin',
    sent: ['grpc-trace-bin', grpcBin(long, span, '01')],
    ...{ traceId: long, parentId: span, sampled: true },
    out: { 'grpc-trace-bin': grpcBin(long, ours, '01').replace(/=+$/, '') },
  },
  {
    name: 'GCP',
    sent: ['x-cloud-trace-context', `${long}/13235353014750950193;o=1`],
    ...{ traceId: long, parentId: span, sampled: true },
    out: { 'x-cloud-trace-context': `${long}/${oursDecimal};o=1` },
  },
  {
    name: 'others pass as they are',
    sent: [
      'sw8',
      '1-abc',
      'x-ot-span-context',
      'xyz',
      'baggage',
      'a=b',
      'uberctx-a',
      'b',
    ],
    out: { sw8: '1-abc', 'x-ot-span-context': 'xyz', baggage: 'a=b', 'uberctx-a': 'b' },
  },
]

for (const row of rows) {
  t.test(row.name, (t) => {
    const headers = [...row.sent]
    const trace = traceOf(headers, 0, 0.5)
    if (row.traceId !== undefined) t.equal(trace.traceId, row.traceId)
    if (row.parentId !== undefined) t.equal(trace.parentId, row.parentId)
    t.equal(trace.sampled, row.sampled ?? false)
    // Twice: an attempt and its retry.
    injectTrace(headers, trace, 'ffffffffffffffff')
    injectTrace(headers, trace, ours)
    const flag = trace.sampled ? '01' : '00'
    t.equal(getHeader(headers, 'traceparent'), `00-${trace.traceId}-${ours}-${flag}`)
    for (const [name, value] of Object.entries(row.out))
      t.equal(getHeader(headers, name), value.replace('<self>', trace.spanId), name)
    const names = headers.filter((_, i) => i % 2 === 0)
    t.equal(new Set(names).size, names.length, 'nothing twice')
    const allowed = new Set([...Object.keys(row.out), ...row.sent, 'traceparent'])
    t.strictSame(
      names.filter((name) => !allowed.has(name)),
      [],
      'no format that nobody sent',
    )
    t.end()
  })
}

t.test('W3C before all, and the others follow it', (t) => {
  const headers = ['b3', `${short}-${span}-0`, 'traceparent', `00-${long}-${span}-01`]
  const trace = traceOf(headers, 0, 0.5)
  t.match(trace, { traceId: long, parentId: span, sampled: true })
  injectTrace(headers, trace, ours)
  t.equal(getHeader(headers, 'b3'), `${long}-${ours}-1-${trace.spanId}`)
  t.end()
})

const broken = [
  ['b3', 'xyz'],
  ['b3', `${'0'.repeat(32)}-${span}-1`],
  ['b3', `${long}-short-1`],
  ['x-b3-traceid', long],
  ['uber-trace-id', `${long}:${span}:1`],
  ['uber-trace-id', '0:0:0:1'],
  ['x-datadog-trace-id', '18446744073709551616'],
  ['x-datadog-trace-id', '0'],
  ['x-datadog-trace-id', '-5'],
  ['x-amzn-trace-id', 'Root=2-0af76519-16cd43dd8448eb211c80319c'],
  ['grpc-trace-bin', 'AAAA'],
  ['grpc-trace-bin', '%%%'],
  ['x-cloud-trace-context', 'abc'],
]

t.test('what is broken starts a new trace, and passes as it is', (t) => {
  for (const sent of broken) {
    const headers = [...sent]
    const trace = traceOf(headers, 1, 0.5)
    t.match(trace, { parentId: '', sampled: true, formats: [] }, sent.join(' '))
    t.match(trace.traceId, /^[0-9a-f]{32}$/)
    injectTrace(headers, trace, ours)
    t.strictSame(headers.slice(0, 2), sent)
  }
  t.end()
})

t.test('tracestate without its traceparent goes', (t) => {
  const headers = ['tracestate', 'a=b', 'b3', `${long}-${span}-1`]
  traceOf(headers, 0, 0.5)
  t.equal(getHeader(headers, 'tracestate'), undefined)
  t.end()
})
