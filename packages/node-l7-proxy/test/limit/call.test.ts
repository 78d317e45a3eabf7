// SPDX-License-Identifier: Apache-2.0
// One gRPC call by hand: what is sent, and which answers are none. The events are those of any upstream; real ones come in
// test/integration/global-limits.test.ts.
import t from 'tap'
import { CircuitBreaker } from '../../src/cluster/breaker.ts'
import { type CallResult, LimitCall } from '../../src/limit/call.ts'
import type {
  Upstream,
  UpstreamEvents,
  UpstreamRequest,
} from '../../src/upstream/upstream.ts'
import { until } from '../support/wait.ts'

function frame(text: string, flag = 0): Buffer {
  const bytes = Buffer.from(`.....${text}`)
  bytes.writeUInt8(flag)
  bytes.writeUInt32BE(text.length, 1)
  return bytes
}

/** A call whose events `play` makes up, with its results and what became of it. */
function run(play: (events: UpstreamEvents) => void, timeoutMs = 60_000) {
  const breaker = new CircuitBreaker()
  const results: CallResult[] = []
  const seen = { requests: [] as UpstreamRequest[], cancelled: 0 }
  const upstream: Upstream = {
    ...{ active: 0, lastUsedMs: 0 },
    start: (request, events) => {
      seen.requests.push(request)
      play(events)
      const nothing = (): void => undefined
      const cancel = (): void => {
        seen.cancelled++
      }
      return { held: 0, pause: nothing, resume: nothing, cancel }
    },
    close: () => undefined,
  }
  const call = new LimitCall(breaker.enter(), (result) => results.push(result))
  call.start(upstream, 'limits:80', Buffer.from('question'), timeoutMs)
  return { results, seen, breaker, call }
}

const good = ['grpc-status', '0']
const answer = (chunks: readonly Buffer[], trailers: string[] | undefined = good) =>
  run((events) => {
    events.onConnection()
    events.onHead(200, ['content-type', 'application/grpc'], false)
    for (const chunk of chunks) events.onData(chunk)
    events.onEnd(trailers)
  })

t.test('one message there, one back, in however many pieces', async (t) => {
  const whole = frame('verdict')
  const { results, seen, breaker } = answer([whole.subarray(0, 3), whole.subarray(3)])
  t.strictSame(results, [{ kind: 'answer', message: Buffer.from('verdict') }])
  t.match(seen.requests, [
    {
      ...{ method: 'POST', authority: 'limits:80' },
      path: '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
      headers: ['content-type', 'application/grpc'],
    },
  ])
  t.strictSame(breaker.going, { connections: 0, pending: 0, requests: 0, retries: 0 })
  const sent: Buffer[] = []
  for await (const chunk of seen.requests[0]?.body?.open() ?? [])
    sent.push(chunk as Buffer)
  t.strictSame(Buffer.concat(sent), frame('question'))
})

t.test('answers that are none', async (t) => {
  const cases: readonly [string, ReturnType<typeof run>, RegExp][] = [
    ['no message', answer([]), /not one plain gRPC message/],
    ['a piece', answer([frame('verdict').subarray(0, 8)]), /not one plain/],
    ['two', answer([frame('a'), frame('b')]), /not one plain/],
    ['compressed', answer([frame('verdict', 1)]), /not one plain/],
    ['refused', answer([frame('verdict')], ['grpc-status', '14']), /UNAVAILABLE/],
    ['no trailers', answer([frame('verdict')], []), /no grpc-status/],
    ['too long', answer([Buffer.alloc(70_000)]), /longer than 65536 bytes/],
    ['HTTP', run((events) => { events.onHead(404, [], true) }), /HTTP status 404/],
    [
      'refused in the head',
      run((events) => { events.onHead(200, ['grpc-status', '12'], true) }),
      /UNIMPLEMENTED/,
    ],
  ] // prettier-ignore
  for (const [name, { results, breaker }, reason] of cases) {
    t.match(results, [{ kind: 'error', detail: reason, taken: true }], name)
    t.equal(results.length, 1, name)
    t.equal(breaker.going['requests'], 0, name)
  }
})

t.test('a failure says whether anybody looked at the question', async (t) => {
  for (const kind of ['connect', 'refused', 'reset', 'protocol'] as const) {
    const { results, seen } = run((events) => {
      events.onFailure({ kind, detail: 'why' })
    })
    const taken = kind === 'reset' || kind === 'protocol'
    const error = { kind: 'error', connected: false, taken, detail: 'why' }
    t.strictSame(results, [error], kind)
    t.equal(seen.cancelled, 1, 'what failed before it began is let go')
  }
})

t.test('the timeout and a client that goes away end it, once', async (t) => {
  const late: UpstreamEvents[] = []
  const silent = run((events) => late.push(events), 5)
  await until(() => silent.results.length > 0, 'the timeout')
  t.match(silent.results, [{ kind: 'timeout', connected: false, detail: /in 5 ms/ }])
  t.equal(silent.seen.cancelled, 1)
  const gone = run((events) => late.push(events))
  gone.call.cancel()
  gone.call.cancel()
  t.match(gone.results, [{ kind: 'cancelled' }])
  for (const events of late) events.onEnd(good)
  t.equal(silent.results.length + gone.results.length, 2)
})
