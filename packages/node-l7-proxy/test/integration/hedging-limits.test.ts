// SPDX-License-Identifier: Apache-2.0
// What hedges may not exceed, and what is told of them: throttling, budget, circuit breaker, spans and access lines.
import { once } from 'node:events'
import http2 from 'node:http2'
import { L7Protocol, Resource, Traffic } from '@pillion/contract'
import t from 'tap'
import { startCollector } from '../support/collector.ts'
import { ask } from '../support/http.ts'
import { startPlanned } from '../support/planned.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const planned = await startPlanned(3)
const { arrivals } = planned
const collector = await startCollector()

const hedging = {
  ...{ maxAttempts: 2, delayMs: 30 },
  ...{ nonFatalCodes: [503], nonFatalGrpcCodes: ['UNAVAILABLE'] },
}
const web = (id: number, name: string) => [
  service(id, name, L7Protocol.HTTP),
  ...planned.web.map(({ port }) => endpoint(id, name, port)),
]
const proxy = await startProxy(
  [
    service(1, 'throttled', L7Protocol.GRPC),
    ...planned.calls.map(({ port }) => endpoint(1, 'throttled', port)),
    table(1, 'throttled', {
      traffic: Traffic.fromPartial({
        // So long that answers of a busy machine come before it.
        hedging: { ...hedging, maxAttempts: 3, delayMs: 300 },
        retryThrottling: { maxTokens: 4, tokenMilli: 1000 },
      }),
    }),
    ...web(2, 'tight'),
    table(2, 'tight', {
      traffic: Traffic.fromPartial({ hedging }),
      retryBudget: {
        ...{ percent: 0, intervalMs: 60_000, minRetries: 1, minIntervalMs: 60_000 },
      },
    }),
    ...web(6, 'spent'),
    table(6, 'spent', {
      traffic: Traffic.fromPartial({ hedging: { ...hedging, delayMs: 60_000 } }),
      retryBudget: {
        ...{ percent: 0, intervalMs: 60_000, minRetries: 0, minIntervalMs: 60_000 },
      },
    }),
    ...web(3, 'retries'),
    table(3, 'retries', {
      traffic: Traffic.fromPartial({ hedging, circuitBreaker: { maxRetries: 1 } }),
    }),
    ...web(4, 'full'),
    table(4, 'full', {
      traffic: Traffic.fromPartial({ hedging, circuitBreaker: { maxRequests: 1 } }),
    }),
    ...web(5, 'told'),
    table(5, 'told', { traffic: Traffic.fromPartial({ hedging }) }),
    Resource.fromPartial({
      name: 'mesh',
      body: {
        $case: 'settings',
        value: { traceCollector: collector.url, traceSampleRatio: 0, accessLog: true },
      },
    }),
  ],
  ['--log-level', 'info'],
)
const calls = http2.connect(`http://127.0.0.1:${proxy.port}`)
t.teardown(async () => {
  calls.destroy()
  await proxy.stop()
  await collector.close()
  await planned.close()
})

/** Status of one call. */
async function call(path: string): Promise<unknown> {
  const stream = calls.request({
    ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' },
  })
  stream.end('x')
  const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  stream.resume()
  await once(stream, 'close')
  return head['grpc-status']
}

t.test('throttled: the tokens are those of retries', async (t) => {
  t.equal(await call('/a/hold,ok'), '0', 'all four tokens')
  t.equal(await call('/b/14'), '14')
  t.equal(arrivals('/b/14').length, 2, 'three tokens left: once more; two: no more')
  t.equal(await proxy.metric('pillion_retries_throttled_total'), 1)
  t.equal(await call('/c/ok@700'), '0')
  t.equal(arrivals('/c/ok@700').length, 1, 'slow, and not hedged')
  t.equal(await proxy.metric('pillion_retries_throttled_total'), 2)
  t.equal(await call('/d/hold,ok'), '0', 'one more token')
  t.ok(arrivals('/d/hold,ok').length >= 2)
})

t.test('budget: a hedge is a retry', async (t) => {
  t.equal((await ask(proxy.port, 2, '/budget-a/hold,ok')).status, 200)
  const slow = await ask(proxy.port, 2, '/budget-b/ok@120')
  t.equal(slow.status, 200, 'what runs goes on')
  t.equal(arrivals('/budget-b/ok@120').length, 1)
  const failed = await ask(proxy.port, 6, '/budget-c/503')
  t.match(failed, { status: 503, body: /^RETRY_BUDGET/ }, 'GEP-3388')
  t.equal(arrivals('/budget-c/503').length, 1)
  t.equal(await proxy.metric('pillion_retry_budget_exhausted_total'), 2)
})

t.test('maxRetries: requests that are hedged', async (t) => {
  const held = ask(proxy.port, 3, '/retries-a/hold')
  await until(() => arrivals('/retries-a/hold').length >= 2, 'it is hedged')
  t.equal((await ask(proxy.port, 3, '/retries-b/ok@120')).status, 200)
  t.equal(arrivals('/retries-b/ok@120').length, 1)
  t.equal(await proxy.metric('pillion_circuit_breaker_retries_total'), 1)
  arrivals('/retries-a/hold')[0]?.release()
  t.equal((await held).status, 200)
  t.equal((await ask(proxy.port, 3, '/retries-c/hold,ok')).status, 200)
})

t.test('maxRequests: a hedge that has no place does not harm its request', async (t) => {
  t.equal((await ask(proxy.port, 4, '/full-a/ok@120')).status, 200)
  t.equal(arrivals('/full-a/ok@120').length, 1)
  t.equal(await proxy.metric('pillion_circuit_breaker_requests_total'), 0)
})

t.test('a span of each attempt; the access line says how many', async (t) => {
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` }
  const reply = await ask(proxy.port, 5, '/told-a/hold,ok', { headers })
  const winner = Number(reply.body)
  await until(() => collector.spans.length >= 3, 'three spans')
  const server = collector.spans.find(({ kind }) => kind === 2)
  const attempts = collector.spans.filter(({ kind }) => kind === 3)
  t.strictSame(
    attempts
      .toSorted((a, b) => a.startMs - b.startMs)
      .map(({ parentId, isError, attributes }) => [
        ...[parentId, isError, attributes['pillion.hedge'], attributes['server.port']],
        ...['http.response.status_code', 'http.request.resend_count'].map(
          (name) => attributes[name],
        ),
      ]),
    [
      [
        server?.spanId,
        false,
        'lost',
        arrivals('/told-a/hold,ok')[0]?.port,
        undefined,
        undefined,
      ],
      [server?.spanId, false, undefined, winner, 200, 1],
    ],
  )
  t.strictSame(
    arrivals('/told-a/hold,ok').map((each) =>
      String(each.headers['traceparent']).slice(36, 52),
    ),
    attempts.toSorted((a, b) => a.startMs - b.startMs).map(({ spanId }) => spanId),
  )
  const line = (): string | undefined =>
    proxy.log.find((text) => text.includes('"service":"shop/told:80/TCP"'))
  await until(() => line() !== undefined, 'the access line')
  t.match(JSON.parse(line() ?? '{}'), {
    ...{ attempts: 2, status: 200, flag: '-' },
    endpoint: `shop/told:80/TCP|127.0.0.1:${winner}`,
  })
})
