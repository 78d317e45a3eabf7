// SPDX-License-Identifier: Apache-2.0
// Hedging (gRFC A6, for HTTP as well) through the real processes, to backends that answer by the plan in the path.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import {
  Hedging,
  L7Protocol,
  type Resource,
  SessionPersistence,
  Traffic,
} from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startPlanned } from '../support/planned.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const planned = await startPlanned(3)
const closed = await httpBackend(() => undefined)
await closed.close()

/** Long enough that nothing but the delay of `soon` explains a hedge. */
const never = 60_000
const soon = 30
/** Of those that may send three: so much that a busy machine does not send one more than the plan has. */
const steady = 150
const hedging = (more: Partial<Hedging>): Hedging => ({
  ...{ maxAttempts: 3, delayMs: steady, nonFatalCodes: [503] },
  ...{ nonFatalGrpcCodes: ['UNAVAILABLE'], ...more },
})
const twice = hedging({ maxAttempts: 2, delayMs: soon })
const web = (id: number, name: string) => [
  service(id, name, L7Protocol.HTTP),
  ...planned.web.map(({ port }) => endpoint(id, name, port)),
]
const calls = (id: number, name: string) => [
  service(id, name, L7Protocol.GRPC),
  ...planned.calls.map(({ port }) => endpoint(id, name, port)),
]
const hedged = (id: number, name: string, rule: Hedging): Resource =>
  table(id, name, { traffic: Traffic.fromPartial({ hedging: rule }) })

const proxy = await startProxy([
  ...web(1, 'web'),
  hedged(1, 'web', twice),
  ...calls(2, 'calls'),
  hedged(2, 'calls', twice),
  ...web(3, 'web-late'),
  hedged(3, 'web-late', hedging({ delayMs: never })),
  ...calls(4, 'calls-late'),
  hedged(4, 'calls-late', hedging({ delayMs: never })),
  ...web(5, 'web-three'),
  hedged(5, 'web-three', hedging({})),
  ...calls(6, 'calls-three'),
  hedged(6, 'calls-three', hedging({})),
  service(7, 'routed', L7Protocol.HTTP),
  table(7, 'routed', {
    hasRoutes: true,
    rules: [
      rule('/retried', { web: 1 }, { retry: retry(1, { codes: [500] }) }),
      rule('/bounded', { web: 1 }, { requestTimeoutMs: 300 }),
      rule(
        '/session',
        { web: 1 },
        { session: SessionPersistence.fromPartial({ name: 'x-place', header: true }) },
      ),
      rule('/', { web: 1 }),
    ],
    traffic: Traffic.fromPartial({ hedging: twice }),
  }),
  ...web(8, 'judged'),
  table(8, 'judged', {
    traffic: Traffic.fromPartial({
      hedging: twice,
      outlierEjection: {
        ...{ consecutiveErrors: 1, intervalMs: 10_000, maxEjectedPercent: 50 },
        ...{ baseEjectionMs: 60_000, maxEjectionMs: 60_000 },
      },
    }),
  }),
  service(9, 'alone', L7Protocol.HTTP),
  ...planned.web.slice(0, 1).map(({ port }) => endpoint(9, 'alone', port)),
  hedged(9, 'alone', twice),
  service(10, 'half-dead', L7Protocol.HTTP),
  ...planned.web.slice(0, 1).map(({ port }) => endpoint(10, 'half-dead', port)),
  endpoint(10, 'half-dead', closed.port),
  hedged(10, 'half-dead', hedging({ delayMs: never })),
  ...web(12, 'timed'),
  table(12, 'timed', {
    backendTimeoutMs: 100,
    traffic: Traffic.fromPartial({ hedging: hedging({ delayMs: never }) }),
  }),
  service(11, 'sticky', L7Protocol.HTTP, { affinitySeconds: 60 }),
  ...planned.web.map(({ port }) => endpoint(11, 'sticky', port)),
  hedged(11, 'sticky', twice),
])
const client = (id: number): http2.ClientHttp2Session =>
  http2.connect(`http://127.0.0.${id}:${proxy.port}`)
const clients = { 2: client(2), 4: client(4), 6: client(6) }
t.teardown(async () => {
  for (const each of Object.values(clients)) each.destroy()
  await proxy.stop()
  await planned.close()
})

let names = 0
/** A path of its own with this plan. */
const plan = (text: string, prefix = ''): string => `${prefix}/n${++names}/${text}`
const { arrivals } = planned
const ports = (path: string): number[] => arrivals(path).map(({ port }) => port)

/** Counts of the metrics since the last call. */
const before = { sent: 0, won: 0 }
async function counted(): Promise<string> {
  const sent = await proxy.metric('pillion_hedges_total')
  const won = await proxy.metric('pillion_hedges_won_total')
  const text = `${sent - before.sent} sent, ${won - before.won} won`
  Object.assign(before, { sent, won })
  return text
}

/** Nothing is left in any count, whatever was cancelled. */
async function idle(): Promise<void> {
  await until(async () => {
    const { body } = await proxy.admin('/debug/config')
    const counts = [...body.matchAll(/"(?:active|requests|pending|retries)": (\d+)/g)]
    return counts.length > 0 && counts.every(([, count]) => count === '0')
  }, 'all counts at 0')
}

function start(
  id: keyof typeof clients,
  path: string,
  headers: http2.OutgoingHttpHeaders = {},
): http2.ClientHttp2Stream {
  return clients[id].request({
    ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' },
    ...{ te: 'trailers', ...headers },
  })
}

/** Head of the answer to one call. */
async function call(
  id: keyof typeof clients,
  path: string,
  body: string | Buffer = 'question',
  headers: http2.OutgoingHttpHeaders = {},
): Promise<http2.IncomingHttpHeaders> {
  const stream = start(id, path, headers)
  stream.end(body)
  const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  stream.resume()
  await once(stream, 'close')
  return head
}

t.test('a slow first endpoint: the second answers, the first is cancelled', async (t) => {
  const path = plan('hold,ok')
  const startMs = performance.now()
  const reply = await ask(proxy.port, 8, path)
  const [first, second] = arrivals(path)
  t.equal(`${reply.status} ${reply.body}`, `200 ${second?.port}`)
  t.not(first?.port, second?.port, 'an endpoint that was not tried')
  t.ok((second?.atMs ?? 0) - startMs >= soon - 1)
  await until(() => first?.cancelled === -1, 'its connection is closed')
  t.equal(await counted(), '1 sent, 1 won')
  t.equal(await proxy.metric('pillion_ejections_consecutive_total'), 0, 'not judged')
  await idle()
})

t.test(
  'three of them, one after the other; an answer in time has no hedge',
  async (t) => {
    const path = plan('hold,hold,ok')
    t.equal((await ask(proxy.port, 5, path)).status, 200)
    t.equal(new Set(ports(path)).size, 3)
    await until(() => arrivals(path)[1]?.cancelled === -1, 'the losers are gone')
    const quick = plan('ok')
    t.equal((await ask(proxy.port, 3, quick)).status, 200)
    t.equal(arrivals(quick).length, 1)
    t.equal(await counted(), '2 sent, 1 won')
  },
)

t.test('the first answers after all: the hedge is cancelled', async (t) => {
  const path = plan('hold,hold')
  const reply = ask(proxy.port, 1, path)
  await until(() => arrivals(path).length >= 2, 'a hedge')
  arrivals(path)[0]?.release()
  t.equal((await reply).body, String(ports(path)[0]))
  await until(() => arrivals(path)[1]?.cancelled === -1, 'the loser is gone')
  t.equal(await counted(), '1 sent, 0 won')
  await idle()
})

t.test('HTTP: non-fatal codes and no answer send the next at once', async (t) => {
  for (const bad of ['503', 'reset']) {
    const path = plan(`${bad},ok`)
    t.equal((await ask(proxy.port, 3, path)).status, 200, bad)
    t.equal(new Set(ports(path)).size, 2)
  }
  const failing = plan('503')
  t.equal((await ask(proxy.port, 3, failing)).status, 503, 'all of them: the last error')
  t.equal(new Set(ports(failing)).size, 3)
  const fatal = plan('500,ok')
  t.equal((await ask(proxy.port, 3, fatal)).status, 500)
  t.equal(arrivals(fatal).length, 1)
  t.equal((await ask(proxy.port, 10, plan('ok'))).status, 200, 'a dead endpoint')
  t.equal(
    (await ask(proxy.port, 12, plan('hold,ok'))).status,
    200,
    'a time-out of its own',
  )
  t.match(await ask(proxy.port, 12, plan('hold')), {
    ...{ status: 504, body: /^BACKEND_TIMEOUT/ },
  })
  await counted()
})

t.test('a fatal answer of a hedge ends them all', async (t) => {
  const path = plan('hold,404')
  t.equal((await ask(proxy.port, 1, path)).status, 404)
  await until(() => arrivals(path)[0]?.cancelled === -1, 'the first is gone')
  const grpc = plan('hold,5')
  t.match(await call(2, grpc), { 'grpc-status': '5' })
  await until(() => arrivals(grpc)[0]?.cancelled === 8, 'reset with CANCEL')
  t.equal(arrivals(grpc).length, 2)
  await counted()
})

t.test('a non-fatal answer waits for those that run', async (t) => {
  const path = plan('hold,14,14')
  const head = call(6, path)
  await until(() => arrivals(path).length === 3, 'all attempts')
  arrivals(path)[0]?.release()
  t.match(await head, { 'grpc-status': '0', 'x-port': String(ports(path)[0]) })
  await counted()
})

t.test(
  'gRPC: at once after a non-fatal status, what was sent before is said',
  async (t) => {
    const path = plan('14,ok')
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00'
    const head = await call(4, path, 'x', { 'grpc-timeout': '20S', traceparent })
    t.match(head, { 'grpc-status': '0' })
    const [first, second] = arrivals(path).map(({ headers }) => headers)
    t.equal(first?.['grpc-previous-rpc-attempts'], undefined)
    t.equal(second?.['grpc-previous-rpc-attempts'], '1')
    t.equal(first?.['grpc-timeout'], '20S')
    t.match(second?.['grpc-timeout'], /^(20000|19\d{3})m$|^(20000000|19\d{6})u$/)
    t.not(first?.['traceparent'], second?.['traceparent'])
    t.match(await call(4, plan('14')), { 'grpc-status': '14' }, 'all fail')
    t.match(await call(4, plan('reset,ok')), { 'grpc-status': '0' })
    await counted()
  },
)

t.test('Response-Headers commit: what comes after them is the answer', async (t) => {
  const path = plan('hold,head,ok')
  const stream = start(2, path)
  stream.end('x')
  await once(stream, 'response')
  await until(() => arrivals(path)[0]?.cancelled === 8, 'the first is reset')
  stream.close(8)
  await until(() => arrivals(path)[1]?.cancelled === 8, 'as the winner, by its client')
  t.equal(arrivals(path).length, 2)
  await counted()
})

t.test('pushback: exactly so long, or no more', async (t) => {
  const path = plan('14:200,ok')
  t.match(await call(4, path), { 'grpc-status': '0' })
  const [first, second] = arrivals(path)
  t.ok((second?.atMs ?? 0) - (first?.atMs ?? 0) >= 195)
  const never = plan('14:-1,ok')
  t.match(await call(4, never), { 'grpc-status': '14' })
  t.equal(arrivals(never).length, 1)
  const held = plan('hold,14:-1,ok')
  const head = call(6, held)
  await until(() => arrivals(held).length === 2, 'the hedge')
  // In which a third would have been sent.
  await until(
    () => performance.now() - (arrivals(held)[1]?.atMs ?? 0) > 2 * steady,
    'two delays',
  )
  arrivals(held)[0]?.release()
  t.match(await head, { 'grpc-status': '0' })
  t.equal(arrivals(held).length, 2)
  await counted()
})

t.test('bodies: every attempt gets all of it', async (t) => {
  const body = Buffer.alloc(60_000, 'body')
  const path = plan('hold,hold,ok')
  t.match(await call(6, path, body), { 'grpc-status': '0' })
  t.strictSame(
    arrivals(path).map((each) => each.body?.equals(body)),
    [true, true, true],
  )
  const put = plan('hold,ok')
  t.equal((await ask(proxy.port, 1, put, { method: 'PUT', body })).status, 200)
  t.strictSame(
    arrivals(put).map((each) => each.body?.equals(body)),
    [true, true],
  )
  t.equal(await counted(), '3 sent, 2 won')
})

t.test(
  'not before the whole body is there, and never beyond --replay-bytes',
  async (t) => {
    const path = plan('hold,ok')
    const stream = start(2, path)
    stream.write('half ')
    await until(() => arrivals(path).length === 1, 'the first')
    const fromMs = performance.now()
    await until(() => performance.now() - fromMs > 4 * soon, 'four delays')
    t.equal(arrivals(path).length, 1)
    stream.end('whole')
    await once(stream, 'response')
    stream.close()
    t.strictSame(arrivals(path)[1]?.body?.toString(), 'half whole')
    const long = plan('ok@150')
    t.match(await call(2, long, Buffer.alloc(100_000)), { 'grpc-status': '0' })
    t.equal(arrivals(long).length, 1)
    t.equal(arrivals(long)[0]?.body?.length, 100_000)
    t.equal(await proxy.metric('pillion_replay_overflow_total'), 1)
    t.equal(await counted(), '1 sent, 1 won')
  },
)

t.test(
  'not hedged: other methods, routes with retries, sessions, what has one endpoint',
  async (t) => {
    const slow = plan('ok@150')
    const reply = await ask(proxy.port, 1, slow, { method: 'POST', body: 'x' })
    t.equal(reply.status, 200)
    const retried = plan('ok@150', '/retried')
    t.equal((await ask(proxy.port, 7, retried)).status, 200)
    const expecting = plan('ok@150')
    const headers = { expect: '100-continue' }
    await ask(proxy.port, 1, expecting, { method: 'PUT', headers, body: 'x' })
    for (const id of [9, 11]) {
      const path = plan('ok@150')
      t.equal((await ask(proxy.port, id, path)).status, 200)
      t.equal(arrivals(path).length, 1)
    }
    const place = (await ask(proxy.port, 7, plan('ok', '/session'))).headers['x-place']
    t.type(place, 'string')
    const placed = plan('ok@150', '/session')
    await ask(proxy.port, 7, placed, { headers: { 'x-place': place } })
    for (const path of [slow, retried, expecting, placed])
      t.equal(ports(path).length, 1, path)
    t.equal(await counted(), '0 sent, 0 won')
    const plain = plan('hold,ok')
    t.equal((await ask(proxy.port, 7, plain)).status, 200, 'a route without')
    await counted()
  },
)

t.test('the client goes away: all are cancelled', async (t) => {
  const path = plan('hold')
  const request = http.get({
    ...{ host: '127.0.0.5', port: proxy.port, path, agent: false },
  })
  request.on('error', () => undefined)
  await until(() => arrivals(path).length === 3, 'all attempts')
  request.destroy()
  const gone = (): boolean => arrivals(path).every(({ cancelled }) => cancelled === -1)
  await until(gone, 'none is left')
  await idle()
  t.equal(await counted(), '2 sent, 0 won')
})

t.test('the deadline is over all of them', async (t) => {
  const startMs = performance.now()
  const reply = await ask(proxy.port, 7, plan('hold', '/bounded'))
  t.equal(reply.status, 504)
  t.match(reply.body, /^REQUEST_TIMEOUT/)
  t.ok(performance.now() - startMs >= 299)
  await idle()
  const grpc = plan('hold')
  t.match(await call(2, grpc, 'x', { 'grpc-timeout': '300m' }), { 'grpc-status': '4' })
  await until(() => arrivals(grpc).every(({ cancelled }) => cancelled === 8), 'none left')
  t.equal(arrivals(grpc).length, 2)
  await idle()
  await counted()
})
