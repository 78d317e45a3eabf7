// SPDX-License-Identifier: Apache-2.0
// Circuit breakers, ejection, rate limits, balancing by hash, pools and faults, as an L7Service declares them, through the real
// processes.
import http from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import {
  Algorithm,
  HashSource,
  L7Protocol,
  LimitScope,
  type Resource,
  Traffic,
} from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const held: http.ServerResponse[] = []
const perSocket = new WeakMap<object, number>()
let sockets = 0
const backend = await httpBackend((request, response) => {
  const count = (perSocket.get(request.socket) ?? 0) + 1
  perSocket.set(request.socket, count)
  if (count === 1) sockets++
  request.resume()
  if (request.url?.startsWith('/held') === true) held.push(response)
  else if (request.url?.startsWith('/fail') === true) response.writeHead(500).end('bad')
  else request.on('end', () => response.end(String(count)))
})
const bad = await httpBackend((_request, response) => response.writeHead(500).end('bad'))
const names = await Promise.all(
  ['a', 'b', 'c'].map(async (name) =>
    httpBackend((_request, response) => response.end(name)),
  ),
)

const declared = (id: number, name: string, traffic: Traffic) =>
  table(id, name, { traffic })
const web = (id: number, name: string) => [
  service(id, name, L7Protocol.HTTP),
  endpoint(id, name, backend.port),
]

/** An endpoint of service 11, in a zone. */
function zoned(port: number, zone: string): Resource {
  const { name, body } = endpoint(11, 'zoned', port)
  if (body?.$case !== 'endpoint') throw new Error('no endpoint')
  return { name, body: { ...body, value: { ...body.value, zone } } }
}
const inZone = (zone: string): Resource => ({
  name: 'node-1',
  body: { $case: 'node', value: { name: 'node-1', zone } },
})
const nearBad = {
  balancing: { algorithm: Algorithm.ROUND_ROBIN, preferZone: true },
  outlierEjection: {
    ...{ consecutiveErrors: 1, intervalMs: 10_000, maxEjectedPercent: 50 },
    ...{ baseEjectionMs: 60_000, maxEjectionMs: 60_000 },
  },
}

const proxy = await startProxy(
  [
    ...web(1, 'requests'),
    declared(1, 'requests', Traffic.fromPartial({ circuitBreaker: { maxRequests: 2 } })),
    ...web(2, 'connections'),
    declared(
      2,
      'connections',
      Traffic.fromPartial({ circuitBreaker: { maxConnections: 1 } }),
    ),
    ...web(3, 'pending'),
    declared(
      3,
      'pending',
      Traffic.fromPartial({ circuitBreaker: { maxPendingRequests: 1 } }),
    ),
    ...web(4, 'retries'),
    table(4, 'retries', {
      hasRoutes: true,
      rules: [rule('/', { retries: 1 }, { retry: retry(3, { codes: [500] }) })],
      traffic: Traffic.fromPartial({ circuitBreaker: { maxRetries: 1 } }),
    }),
    ...web(5, 'outlier'),
    endpoint(5, 'outlier', bad.port),
    declared(
      5,
      'outlier',
      Traffic.fromPartial({
        balancing: { algorithm: Algorithm.ROUND_ROBIN },
        outlierEjection: {
          consecutiveErrors: 2,
          intervalMs: 10_000,
          baseEjectionMs: 60_000,
          maxEjectionMs: 60_000,
          maxEjectedPercent: 50,
          panicPercent: 50,
        },
      }),
    ),
    ...web(6, 'limited'),
    declared(
      6,
      'limited',
      Traffic.fromPartial({
        rateLimits: [
          { scope: LimitScope.IDENTITY, requests: 2, burst: 2, intervalMs: 120_000 },
        ],
      }),
    ),
    service(7, 'ring', L7Protocol.HTTP),
    ...names.map(({ port }) => endpoint(7, 'ring', port)),
    declared(
      7,
      'ring',
      Traffic.fromPartial({
        balancing: {
          algorithm: Algorithm.RING_HASH,
          hashSource: HashSource.HEADER,
          hashName: 'x-user',
        },
      }),
    ),
    ...web(8, 'worn'),
    declared(8, 'worn', Traffic.fromPartial({ connectionPool: { maxRequests: 2 } })),
    ...web(9, 'aborted'),
    declared(
      9,
      'aborted',
      Traffic.fromPartial({ faults: { abortShare: 1_000_000, abortStatus: 418 } }),
    ),
    inZone('a'),
    service(11, 'zoned', L7Protocol.HTTP),
    zoned(bad.port, 'a'),
    ...names.map(({ port }) => zoned(port, 'b')),
    declared(11, 'zoned', Traffic.fromPartial(nearBad)),
    ...web(10, 'delayed'),
    declared(
      10,
      'delayed',
      Traffic.fromPartial({ faults: { delayShare: 1_000_000, delayMs: 150 } }),
    ),
  ],
  ['--max-pool', '2'],
)
t.teardown(async () => {
  await proxy.stop()
  await Promise.all([backend, bad, ...names].map(async (each) => each.close()))
})

/** Answers what is held. */
async function release(count: number): Promise<void> {
  await until(() => held.length === count, `${count} held requests`)
  for (const response of held.splice(0)) response.end('late')
}

t.test('maxRequests: in flight; the next one is 503 and says why', async (t) => {
  const waiting = [ask(proxy.port, 1, '/held'), ask(proxy.port, 1, '/held')]
  await until(() => held.length === 2, 'two requests')
  const refused = await ask(proxy.port, 1, '/')
  t.equal(refused.status, 503)
  t.match(
    refused.body,
    /^OVERFLOW: .*shop\/requests:80\/TCP: circuit breaker: 2 requests/,
  )
  t.equal(
    await proxy.metric('pillion_circuit_breaker_requests_total', 'shop/requests:'),
    1,
  )
  t.equal(await proxy.metric('istio_requests_total', 'name="requests"', 'flags="UO"'), 1)
  await release(2)
  t.strictSame(
    (await Promise.all(waiting)).map(({ status }) => status),
    [200, 200],
  )
  t.equal((await ask(proxy.port, 1, '/')).status, 200)
})

t.test('maxConnections: a kept one is used again, another is not made', async (t) => {
  t.equal((await ask(proxy.port, 2, '/')).status, 200)
  t.equal((await ask(proxy.port, 2, '/')).body, '2', 'the same connection')
  const waiting = ask(proxy.port, 2, '/held')
  await until(() => held.length === 1, 'a request')
  const refused = await ask(proxy.port, 2, '/')
  t.equal(refused.status, 503)
  t.match(refused.body, /^OVERFLOW: .*circuit breaker: 1 connections/)
  t.equal(
    await proxy.metric('pillion_circuit_breaker_connections_total', 'shop/connections:'),
    1,
  )
  await release(1)
  t.equal((await waiting).status, 200)
  t.equal((await ask(proxy.port, 2, '/')).body, '4', 'still the same')
})

t.test('maxPendingRequests: those that wait for a connection', async (t) => {
  // One after the other: a request waits while its connection is made, too.
  const waiting: ReturnType<typeof ask>[] = []
  for (const count of [1, 2]) {
    waiting.push(ask(proxy.port, 3, '/held'))
    await until(() => held.length === count, `${count} on --max-pool connections`)
  }
  waiting.push(ask(proxy.port, 3, '/held'))
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 3,
    'one that waits',
  )
  const refused = await ask(proxy.port, 3, '/')
  t.match(refused.body, /^OVERFLOW: .*circuit breaker: 1 pending requests/)
  await release(2)
  await release(1)
  t.strictSame(
    (await Promise.all(waiting)).map(({ status }) => status),
    [200, 200, 200],
  )
})

t.test('maxRetries: beyond it the answer of the endpoint comes through', async (t) => {
  const all = await Promise.all(
    Array.from({ length: 8 }, async () => ask(proxy.port, 4, '/fail')),
  )
  t.strictSame(
    new Set(all.map(({ status, body }) => `${status} ${body}`)),
    new Set(['500 bad']),
  )
  t.ok((await proxy.metric('pillion_circuit_breaker_retries_total', 'shop/retries:')) > 0)
})

t.test('an endpoint that fails is ejected', async (t) => {
  const seen: number[] = []
  for (let i = 0; i < 12; i++) seen.push((await ask(proxy.port, 5, '/')).status)
  t.equal(seen.filter((status) => status === 500).length, 2, seen.join())
  t.equal(await proxy.metric('pillion_ejections_consecutive_total', 'shop/outlier:'), 1)
  t.equal(await proxy.metric('pillion_ejected_endpoints', 'shop/outlier:'), 1)
  const line = proxy.log.find((each) => each.includes('"endpoint ejected"')) ?? '{}'
  t.match(JSON.parse(line), {
    ...{ service: 'shop/outlier:80/TCP', endpoint: RegExp(`:${bad.port}$`) },
    ...{
      reason: 'failures in a row',
      errors: 2,
      forMs: 60_000,
      ejected: 1,
      endpoints: 2,
    },
  })
  const dump = JSON.parse((await proxy.admin('/debug/config')).body) as unknown
  t.match(JSON.stringify(dump), /"ejectedMs":[1-9]/)
  const name = `shop/outlier:80/TCP|127.0.0.1:${bad.port}`
  await proxy.operator.send([], [{ kind: 'endpoint', name }])
  t.equal(await proxy.metric('pillion_ejected_endpoints', 'shop/outlier:'), 0, 'gone')
})

t.test('rate limit per identity: 429 with Retry-After', async (t) => {
  const from = async (identity: number) => ask(proxy.port, 6, '/', { from: identity })
  t.strictSame([(await from(1)).status, (await from(1)).status], [200, 200])
  const refused = await from(1)
  t.equal(refused.status, 429)
  t.match(refused.body, /^RATE_LIMITED: /)
  t.ok(
    Number(refused.headers['retry-after']) > 50,
    String(refused.headers['retry-after']),
  )
  t.equal((await from(2)).status, 200, 'somebody else')
  t.equal(await proxy.metric('pillion_rate_limited_total', 'shop/limited:'), 1)
  t.equal(await proxy.metric('istio_requests_total', 'name="limited"', 'flags="RL"'), 1)
})

t.test('by header: one user, one endpoint', async (t) => {
  const seen = new Set<string>()
  for (let user = 0; user < 12; user++) {
    const headers = { 'x-user': `user-${user}` }
    const bodies = new Set<string>()
    for (let i = 0; i < 4; i++)
      bodies.add((await ask(proxy.port, 7, '/', { headers })).body)
    t.equal(bodies.size, 1, [...bodies].join())
    for (const body of bodies) seen.add(body)
  }
  t.equal(seen.size, 3)
})

t.test('the zone of the node first; another when that is ejected', async (t) => {
  const seen = async (): Promise<string> => {
    const bodies = new Set<string>()
    for (let i = 0; i < 9; i++) bodies.add((await ask(proxy.port, 11, '/')).body)
    return [...bodies].toSorted().join(' ')
  }
  t.equal((await ask(proxy.port, 11, '/')).body, 'bad')
  t.equal(await seen(), 'a b c')
  await proxy.operator.send([inZone('c')])
  t.equal(await seen(), 'a b c', 'no endpoint there')
})

t.test('maxRequestsPerConnection, and a new rule for the next connections', async (t) => {
  const before = sockets
  const bodies: string[] = []
  for (let i = 0; i < 6; i++) bodies.push((await ask(proxy.port, 8, '/')).body)
  t.strictSame(bodies, ['1', '2', '1', '2', '1', '2'])
  t.equal(sockets - before, 3)
  const chunked = async () =>
    ask(proxy.port, 8, '/', {
      method: 'POST',
      body: 'x',
      headers: { 'transfer-encoding': 'chunked' },
    })
  const more: string[] = []
  for (let i = 0; i < 4; i++) more.push((await chunked()).body)
  t.strictSame(more, ['1', '2', '1', '2'])
  await proxy.operator.send([
    declared(8, 'worn', Traffic.fromPartial({ connectionPool: { maxRequests: 3 } })),
  ])
  const then: string[] = []
  for (let i = 0; i < 4; i++) then.push((await ask(proxy.port, 8, '/')).body)
  t.strictSame(then, ['1', '2', '3', '1'])
})

t.test('maxAge: an old connection takes no more requests', async (t) => {
  await proxy.operator.send([
    declared(8, 'worn', Traffic.fromPartial({ connectionPool: { maxAgeMs: 50 } })),
  ])
  t.equal((await ask(proxy.port, 8, '/')).body, '1')
  const start = performance.now()
  await until(() => performance.now() - start > 60, 'the age')
  t.equal((await ask(proxy.port, 8, '/')).body, '1')
})

t.test('faults: an abort is not sent, a delay is late', async (t) => {
  const aborted = await ask(proxy.port, 9, '/')
  t.equal(aborted.status, 418)
  t.match(aborted.body, /^FAULT: /)
  t.equal(await proxy.metric('istio_requests_total', 'name="aborted"', 'flags="FI"'), 1)
  const start = performance.now()
  t.equal((await ask(proxy.port, 10, '/')).status, 200)
  t.ok(performance.now() - start >= 145, String(performance.now() - start))
  t.equal(await proxy.metric('pillion_faults_delayed_total'), 1)
  t.equal(await proxy.metric('pillion_faults_aborted_total'), 1)
})

t.test('what is counted is given back, whatever became of it', async (t) => {
  const gone = http.get({
    host: '127.0.0.1',
    port: proxy.port,
    path: '/held',
    agent: false,
  })
  gone.on('error', () => undefined)
  await until(() => held.length === 1, 'a request')
  const going = async (): Promise<Map<string, Record<string, number>>> => {
    const dump = JSON.parse((await proxy.admin('/debug/config')).body) as unknown
    const found = JSON.stringify(dump).matchAll(
      /"name":"shop\/(\w+):80\/TCP","id".*?"going":(\{[^}]*\})/g,
    )
    return new Map(
      [...found].map(([, name = '', text = '{}']) => [
        name,
        JSON.parse(text) as Record<string, number>,
      ]),
    )
  }
  t.match((await going()).get('requests'), { requests: 1, pending: 0 })
  gone.destroy()
  await backend.close()
  const ofBackend = ['requests', 'connections', 'pending', 'retries', 'limited', 'worn']
  const none = { connections: 0, pending: 0, requests: 0, retries: 0 }
  await until(async () => {
    const all = await going()
    return ofBackend.every((name) => isDeepStrictEqual(all.get(name), none))
  }, 'nothing in flight, and no connection to a backend that is gone')
})
