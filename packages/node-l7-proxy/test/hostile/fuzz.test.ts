// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Mutations of messages that are valid, or nearly: whatever comes of them, the strict backend reads well-formed requests only,
// and no more of them than the client got answers for. PILLION_FUZZ_RUNS makes it longer.
import { L7Protocol } from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import { startProxy } from '../support/proxy.ts'
import { converse } from '../support/raw-client.ts'
import { startRecorder } from '../support/recorder.ts'
import { endpoint, service } from '../support/resources.ts'
import { until } from '../support/wait.ts'
import { readCases } from '../support/wire-cases.ts'

const runs = Number(process.env['PILLION_FUZZ_RUNS'] ?? 500)

const backend = await startRecorder()
const proxy = await startProxy([
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', backend.port),
])
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})

const seeds = readCases(new URL('data/http1-requests.txt', import.meta.url))
  .map(({ bytes }) => bytes)
  .filter(({ length }) => length > 0 && length < 1000)

/** What parsers have disagreed about. */
const tokens = [
  ...[
    '\r',
    '\n',
    '\r\n',
    '\r\n\r\n',
    ' ',
    '\t',
    '\0',
    '\x0b',
    ':',
    ';',
    ',',
    '"',
    '#',
    '\\',
  ],
  ...['0', '5', '-', '+', '_', '\x7f', '\xff', '\xa0', 'chunked', '0\r\n\r\n', '\r\n '],
  ...['content-length: 5\r\n', 'Transfer-Encoding: chunked\r\n', 'host: evil\r\n'],
  ...[
    'transfer-encoding : x\r\n',
    'connection: close, content-length\r\n',
    'http://x@y/',
  ],
  ...[
    'GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n',
    'HTTP/1.0',
    'expect: 100-continue\r\n',
  ],
].map((text) => Buffer.from(text, 'latin1'))

const place = fc.double({ min: 0, max: 1, noNaN: true })
const mutation = fc.oneof(
  fc.record({
    kind: fc.constant('insert' as const),
    at: place,
    bytes: fc.constantFrom(...tokens),
  }),
  fc.record({
    kind: fc.constant('replace' as const),
    at: place,
    bytes: fc.constantFrom(...tokens),
  }),
  fc.record({
    kind: fc.constant('remove' as const),
    at: place,
    bytes: fc.constantFrom(...tokens),
  }),
  fc.record({
    kind: fc.constant('repeat' as const),
    at: place,
    bytes: fc.constantFrom(...tokens),
  }),
)
const message = fc
  .record({
    seed: fc.constantFrom(...seeds),
    mutations: fc.array(mutation, { minLength: 1, maxLength: 4 }),
  })
  .map(({ seed, mutations }) =>
    mutations.reduce((bytes: Buffer, { kind, at, bytes: token }) => {
      const from = Math.floor(at * bytes.length)
      const length = token.length
      const head = bytes.subarray(0, from)
      if (kind === 'insert') return Buffer.concat([head, token, bytes.subarray(from)])
      if (kind === 'replace')
        return Buffer.concat([head, token, bytes.subarray(from + length)])
      if (kind === 'remove') return Buffer.concat([head, bytes.subarray(from + length)])
      return Buffer.concat([head, bytes.subarray(from, from + 40), bytes.subarray(from)])
    }, seed),
  )

/** Requests that the backend saw and nobody got an answer for. */
async function unanswered(bytes: Buffer, patienceMs: number): Promise<number> {
  backend.reset()
  const { answers } = await converse(proxy.port, 1, bytes, 50, patienceMs)
  const idle = async (): Promise<boolean> =>
    (await proxy.metric('pillion_active_requests')) === 0
  await until(idle, 'no request left')
  if (backend.violations.length > 0) throw new Error(backend.violations.join('\n'))
  const served = answers.filter(({ headers }) =>
    headers.some(([name]) => name === 'x-recorder'),
  )
  return backend.requests.length - served.length
}

t.test(`${runs} mutated messages`, async (t) => {
  const property = fc.asyncProperty(message, async (bytes) => {
    // An answer may be late on a busy machine: only a request that stays unanswered counts.
    if ((await unanswered(bytes, 50)) <= 0) return true
    return (await unanswered(bytes, 1000)) <= 0
  })
  const result = await fc.check(property, { numRuns: runs })
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '')
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
})
