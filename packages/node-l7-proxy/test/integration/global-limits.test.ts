// SPDX-License-Identifier: Apache-2.0
// Limits that a rate limit service counts (globalRateLimit), through the real processes and a real gRPC server.
import { once } from 'node:events'
import type http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { DescriptorSource, L7Protocol, LimitScope, Traffic } from '@pillion/contract'
import t from 'tap'
import { RateLimitResponse_Code as Code } from '../../src/gen/envoy/service/ratelimit/v3/rls.ts'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import {
  header,
  type Judge,
  startRateLimitService,
} from '../support/rate-limit-service.ts'
import { endpoint, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const seen: http.IncomingHttpHeaders[] = []
const backend = await httpBackend((request, response) => {
  seen.push(request.headers)
  response.end('served')
})
const grpcServer = http2.createServer()
grpcServer.on('stream', (stream) => {
  const head = { 'content-type': 'application/grpc', 'grpc-status': '0' }
  stream.respond(head, { endStream: true })
})
grpcServer.listen(0, '127.0.0.1')
await once(grpcServer, 'listening')

const ok: Judge = () => ({ overallCode: Code.OK })
const limits = await startRateLimitService(ok)
let mortal = await startRateLimitService(ok)

/** Long: what does not wait must not depend on a machine that is busy. */
const patientMs = 9000
const entries = [
  { source: DescriptorSource.VALUE, key: 'plan', text: 'gold' },
  { source: DescriptorSource.HEADER, key: 'user', text: 'x-user' },
]
const limited = (
  id: number,
  name: string,
  limit: { timeoutMs?: number; failClosed?: boolean; servicePort?: string } = {},
  rateLimits: Traffic['rateLimits'] = [],
) => {
  const base = { servicePort: 'shop/limits:80/TCP', domain: 'shop', hits: 2 }
  const globalRateLimit = { ...base, timeoutMs: patientMs, ...limit }
  return table(id, name, {
    traffic: {
      ...Traffic.fromPartial({
        globalRateLimit: { ...globalRateLimit, descriptors: [{ entries }] },
      }),
      rateLimits,
    },
  })
}
const web = (id: number, name: string) => [
  service(id, name, L7Protocol.HTTP),
  endpoint(id, name, backend.port),
]
const proxy = await startProxy(
  [
    // Rate limit services are services like any other, and need not be declared.
    service(50, 'limits', L7Protocol.UNSPECIFIED),
    endpoint(50, 'limits', limits.port),
    service(51, 'mortal', L7Protocol.UNSPECIFIED),
    endpoint(51, 'mortal', mortal.port),
    ...web(1, 'web'),
    limited(1, 'web'),
    ...web(2, 'open'),
    limited(2, 'open', { timeoutMs: 100 }),
    ...web(3, 'closed'),
    limited(3, 'closed', { timeoutMs: 100, failClosed: true }),
    service(4, 'calls', L7Protocol.GRPC),
    endpoint(4, 'calls', (grpcServer.address() as AddressInfo).port),
    limited(4, 'calls'),
    ...web(5, 'nowhere'),
    limited(5, 'nowhere', { servicePort: '', failClosed: true }),
    ...web(6, 'both'),
    limited(6, 'both', {}, [
      { scope: LimitScope.SERVICE, requests: 1, burst: 1, intervalMs: 600_000 },
    ]),
    ...web(7, 'mortals'),
    limited(7, 'mortals', { servicePort: 'shop/mortal:80/TCP', failClosed: true }),
    ...web(8, 'held'),
    limited(8, 'held', { timeoutMs: 3000, failClosed: true }),
  ],
  ['--max-limit-calls', '2', '--upstream-idle', '1s'],
)
t.teardown(async () => {
  await proxy.stop()
  await Promise.all([limits.stop(), mortal.stop(), backend.close()])
  grpcServer.close()
})

const user = { headers: { 'x-user': 'ann' } }
const outcomes = async (name: string, outcome: string): Promise<number> =>
  proxy.metric('pillion_rate_limit_calls_total', `shop/${name}:`, `outcome="${outcome}"`)
const flagged = async (name: string, flag: string): Promise<number> =>
  proxy.metric(
    'istio_requests_total',
    `destination_service_name="${name}"`,
    `response_flags="${flag}"`,
  )

t.test('under the limit: asked once, with headers both ways', async (t) => {
  limits.judge = () => ({
    overallCode: Code.OK,
    requestHeadersToAdd: [header('X-Tier', 'gold'), header('host', 'evil')],
    responseHeadersToAdd: [header('X-Left', '9'), header('Connection', 'close')],
  })
  const before = seen.length
  const reply = await ask(proxy.port, 1, '/cart?x=1', user)
  t.match(reply, { status: 200, body: 'served', headers: { 'x-left': '9' } })
  t.match(seen[before], { 'x-tier': 'gold', 'x-user': 'ann' })
  t.not(seen[before]?.host, 'evil')
  t.strictSame(limits.asked.slice(-1), [
    {
      domain: 'shop',
      descriptors: [
        {
          entries: [
            { key: 'plan', value: 'gold' },
            { key: 'user', value: 'ann' },
          ],
        },
      ],
      hitsAddend: 2,
    },
  ])
  t.equal(limits.authorities.at(-1), 'limits.shop.svc.cluster.local:80')
  t.equal(await outcomes('web', 'ok'), 1)
})

t.test('without a value for an entry nobody is asked', async (t) => {
  const asked = limits.asked.length
  t.equal((await ask(proxy.port, 1, '/')).status, 200)
  t.equal(limits.asked.length, asked)
})

t.test(
  'over the limit: 429, when to come again, and what the service says',
  async (t) => {
    const durationUntilReset = { seconds: 6, nanos: 1 }
    limits.judge = () => ({
      overallCode: Code.OVER_LIMIT,
      statuses: [{ code: Code.OVER_LIMIT, durationUntilReset }],
      responseHeadersToAdd: [header('x-left', '0'), header('content-type', 'text/html')],
      rawBody: Buffer.from('<p>later'),
    })
    const before = seen.length
    const { status, headers, body } = await ask(proxy.port, 1, '/', user)
    t.equal(status, 429)
    t.match(headers, {
      ...{ 'retry-after': '7', 'x-pillion-reason': 'RATE_LIMITED', 'x-left': '0' },
      ...{ 'content-type': 'text/html', 'content-length': '8' },
    })
    t.equal(body, '<p>later')
    limits.judge = () => ({ overallCode: Code.OVER_LIMIT })
    const plain = await ask(proxy.port, 1, '/', user)
    t.match(plain, { status: 429, body: /^RATE_LIMITED: / })
    t.notOk('retry-after' in plain.headers, 'not known')
    t.equal(seen.length, before, 'nothing came through')
    t.equal(await outcomes('web', 'over_limit'), 2)
    t.equal(await proxy.metric('pillion_rate_limited_total', 'shop/web:'), 2)
    t.equal(await flagged('web', 'RL'), 2)
  },
)

/** grpc-status of a call to service 4. */
async function call(): Promise<http2.IncomingHttpHeaders> {
  const session = http2.connect(`http://127.0.0.4:${proxy.port}`)
  const stream = session.request({
    ...{ ':method': 'POST', ':path': '/pkg.Service/Call', 'x-user': 'ann' },
    ...{ 'content-type': 'application/grpc', te: 'trailers' },
  })
  stream.end()
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  stream.close()
  session.close()
  return headers
}

t.test('gRPC: RESOURCE_EXHAUSTED, in the head', async (t) => {
  limits.judge = ok
  t.match(await call(), { ':status': 200, 'grpc-status': '0' })
  const statuses = [
    { code: Code.OVER_LIMIT, durationUntilReset: { seconds: 3, nanos: 0 } },
  ]
  limits.judge = () => ({ overallCode: Code.OVER_LIMIT, statuses })
  t.match(await call(), { ':status': 200, 'grpc-status': '8', 'retry-after': '3' })
})

t.test('local limits are asked first', async (t) => {
  limits.judge = ok
  const asked = limits.asked.length
  t.equal((await ask(proxy.port, 6, '/', user)).status, 200)
  t.equal((await ask(proxy.port, 6, '/', user)).status, 429)
  t.equal(limits.asked.length, asked + 1)
})

t.test('silence: let through, or refused, after the timeout', async (t) => {
  limits.judge = () => 'silence'
  const startMs = performance.now()
  t.equal((await ask(proxy.port, 2, '/', user)).status, 200)
  t.ok(performance.now() - startMs >= 95, 'not before')
  const closed = await ask(proxy.port, 3, '/', user)
  t.match(closed, { status: 503, body: /RATE_LIMIT_UNKNOWN.*no answer in 100 ms/ })
  t.equal(closed.headers['x-pillion-reason'], 'RATE_LIMIT_UNKNOWN')
  await until(() => limits.open === 0, 'calls are given up')
  t.equal(await outcomes('open', 'timeout'), 1)
  t.equal(await outcomes('closed', 'timeout'), 1)
  t.equal(await flagged('closed', 'RLSE'), 1)
  t.equal(await flagged('open', 'RLSE'), 0)
  t.equal(await proxy.metric('pillion_rate_limit_calls_active'), 0)
})

t.test('answers that are none', async (t) => {
  const wrong: readonly [Judge, RegExp][] = [
    [() => 14, /UNAVAILABLE/],
    [() => 12, /UNIMPLEMENTED/],
    [() => ({}), /neither OK nor OVER_LIMIT/],
    [() => ({ overallCode: Code.OK, rawBody: Buffer.alloc(70_000) }), /longer than/],
  ]
  for (const [judge, reason] of wrong) {
    limits.judge = judge
    const { status, body } = await ask(proxy.port, 8, '/', user)
    t.equal(status, 503)
    t.match(body, reason)
    t.equal((await ask(proxy.port, 2, '/', user)).status, 200, 'open')
  }
  t.equal(await outcomes('held', 'error'), wrong.length)
  limits.judge = ok
  t.equal((await ask(proxy.port, 8, '/', user)).status, 200)
})

t.test('--max-limit-calls: beyond, nobody is asked and nobody waits', async (t) => {
  limits.judge = () => 'silence'
  const waiting = [1, 2].map(async () => ask(proxy.port, 8, '/', user))
  await until(() => limits.open === 2, 'two calls')
  const third = await ask(proxy.port, 8, '/', user)
  t.match(third, { status: 503, body: /2 calls to rate limit services/ })
  t.equal(limits.asked.length > 0 && limits.open, 2)
  t.equal((await ask(proxy.port, 2, '/', user)).status, 200, 'open')
  t.equal(await proxy.metric('pillion_rate_limit_calls_overflow_total'), 2)
  t.equal(await outcomes('held', 'not_asked'), 1)
  for (const { status } of await Promise.all(waiting)) t.equal(status, 503)
  limits.judge = ok
  t.equal((await ask(proxy.port, 8, '/', user)).status, 200, 'and again')
})

function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController()
  const abort = (): void => {
    controller.abort()
  }
  return { signal: controller.signal, abort }
}

t.test('a client that goes away', async (t) => {
  limits.judge = () => 'silence'
  const before = seen.length
  const { signal, abort } = abortable()
  const gone = ask(proxy.port, 1, '/', { ...user, signal })
  await until(() => limits.open === 1, 'its call')
  abort()
  await t.rejects(gone)
  await until(() => limits.open === 0, 'its call ends, long before its time')
  t.equal(await outcomes('web', 'cancelled'), 1)
  t.equal(await proxy.metric('pillion_rate_limit_calls_active'), 0)
  t.equal(await proxy.metric('pillion_active_requests'), 0)
  t.equal(seen.length, before, 'nothing is sent for it')
})

t.test('down: refused, soon without a try; back: asked again', async (t) => {
  t.equal((await ask(proxy.port, 7, '/', user)).status, 200)
  const { port } = mortal
  await mortal.stop()
  t.equal((await ask(proxy.port, 7, '/', user)).status, 503)
  await until(async () => {
    t.equal((await ask(proxy.port, 7, '/', user)).status, 503)
    return (await outcomes('mortals', 'not_asked')) > 0
  }, 'a request that nobody was asked about')
  t.ok((await outcomes('mortals', 'error')) > 0)
  const { inForce } = JSON.parse((await proxy.admin('/debug/config')).body) as {
    inForce: { rateLimitProblem: string }
  }
  t.match(inForce.rateLimitProblem, /^shop\/mortal:80\/TCP: /)
  mortal = await startRateLimitService(ok, port)
  await until(
    async () => (await ask(proxy.port, 7, '/', user)).status === 200,
    'the service is asked again',
  )
  t.ok(mortal.asked.length > 0)
})

t.test('an endpoint that nobody listens at: another one is asked', async (t) => {
  const dead = await startRateLimitService(ok)
  await dead.stop()
  await proxy.operator.send([endpoint(51, 'mortal', dead.port)])
  const errors = await outcomes('mortals', 'error')
  for (let i = 0; i < 20; i++)
    t.equal((await ask(proxy.port, 7, '/', user)).status, 200, `request ${i}`)
  t.equal(await outcomes('mortals', 'error'), errors)
  const name = `shop/mortal:80/TCP|127.0.0.1:${dead.port}`
  await proxy.operator.send([], [{ kind: 'endpoint', name }])
})

t.test('a reference to nothing', async (t) => {
  const { status, body } = await ask(proxy.port, 5, '/', user)
  t.equal(status, 503)
  t.match(body, /refers to a Service that does not exist/)
})

t.test('another service is asked at once; the old connection ends', async (t) => {
  limits.judge = ok
  t.equal((await ask(proxy.port, 7, '/', user)).status, 200)
  t.equal(mortal.connections, 1)
  const [before, asked] = [mortal.asked.length, limits.asked.length]
  const { error } = await proxy.operator.send([limited(7, 'mortals')])
  t.equal(error, '')
  t.equal((await ask(proxy.port, 7, '/', user)).status, 200)
  t.equal(mortal.asked.length, before)
  t.equal(limits.asked.length, asked + 1)
  await until(() => mortal.connections === 0, '--upstream-idle closes it')
})

t.test('no limit any more: nobody is asked', async (t) => {
  const asked = limits.asked.length
  await proxy.operator.send([table(7, 'mortals', {})])
  t.equal((await ask(proxy.port, 7, '/', user)).status, 200)
  t.equal(limits.asked.length, asked)
})
