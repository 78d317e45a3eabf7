// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  injectTrace,
  parseTraceparent,
  randomHex,
  traceOf,
} from '../../src/filter/trace.ts'

const [id, span] = ['a'.repeat(32), 'b'.repeat(16)]

t.test('traceparent, as W3C Trace Context has it', async (t) => {
  t.strictSame(parseTraceparent(`00-${id}-${span}-01`), {
    traceId: id,
    parentId: span,
    sampled: true,
  })
  t.strictSame(
    parseTraceparent(`00-${id}-${span}-02`)?.sampled,
    false,
    'bit 1 is random, not sampled',
  )
  t.ok(
    parseTraceparent(`cc-${id}-${span}-01-future`),
    'a newer version: first four fields',
  )
  for (const bad of [
    '',
    `00-${id}-${span}`,
    `00-${id}-${span}-01-more`,
    `ff-${id}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${id}-${'0'.repeat(16)}-01`,
    `00-${id.toUpperCase()}-${span}-01`,
    `00-${id}-${span}-1`,
  ]) {
    t.equal(parseTraceparent(bad), undefined, bad)
  }
})

t.test('continued, or started when there is none, a broken one, or two', async (t) => {
  t.equal(traceOf(['traceparent', `00-${id}-${span}-01`], 0, 0).traceId, id)
  t.match(traceOf([], 0.5, 0.4), { parentId: '', sampled: true })
  t.match(traceOf([], 0.5, 0.5), { sampled: false })
  const broken = ['tracestate', 'x=1', 'traceparent', 'nonsense', 'a', '1']
  t.match(traceOf(broken, 0, 0).traceId, /^[0-9a-f]{32}$/)
  t.strictSame(broken, ['a', '1'], 'its state belongs to another trace')
  const two = ['traceparent', `00-${id}-${span}-01`, 'traceparent', `00-${id}-${span}-01`]
  t.not(traceOf(two, 0, 0).traceId, id)
})

t.test('injected once, with our span', async (t) => {
  const headers = ['traceparent', `00-${id}-${span}-01`]
  const trace = { traceId: id, parentId: span, sampled: false }
  injectTrace(headers, { ...trace, spanId: span, formats: [] }, 'c'.repeat(16))
  t.strictSame(headers, ['traceparent', `00-${id}-${'c'.repeat(16)}-00`])
})

t.test('random ids do not repeat over the refill of the pool', async (t) => {
  const seen = new Set(Array.from({ length: 2000 }, () => randomHex(8)))
  t.equal(seen.size, 2000)
})
