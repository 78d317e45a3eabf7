// SPDX-License-Identifier: Apache-2.0
// Spans of the real proxy at a collector, and which requests have an access line.
import { L7Protocol, Resource } from '@pillion/contract'
import t from 'tap'
import { startCollector } from '../support/collector.ts'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

let failures = 1
let traceparent: string | undefined
const backend = await httpBackend((request, response) => {
  traceparent = String(request.headers['traceparent'])
  response.writeHead(failures-- > 0 ? 503 : 200).end('ok')
})
const collector = await startCollector()

const settings = (value: object): Resource =>
  Resource.fromPartial({ name: 'mesh', body: { $case: 'settings', value } })

const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port),
    table(1, 'web', {
      hasRoutes: true,
      rules: [rule('/x', { web: 1 }, { retry: retry(1, { codes: [503] }) })],
    }),
    settings({ traceCollector: collector.url, traceSampleRatio: 0 }),
  ],
  ['--log-level', 'info'],
)
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
  await collector.close()
})

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parent = (flags: string, id = traceId): Record<string, string> => ({
  traceparent: `00-${id}-b7ad6b7169203331-${flags}`,
})

t.test('a span of the request, one of each attempt below it', async (t) => {
  const headers = { ...parent('01'), 'user-agent': 'test' }
  const path = '/x/y?a=1&sig=secret'
  t.equal((await ask(proxy.port, 1, path, { headers })).status, 200)
  await until(() => collector.spans.length === 3, 'three spans')
  const server = collector.spans.find(({ kind }) => kind === 2)
  const clients = collector.spans.filter(({ kind }) => kind === 3)
  t.match(server, {
    ...{ traceId, parentId: 'b7ad6b7169203331', name: 'GET /x/*', isError: false },
    attributes: {
      ...{ 'http.request.method': 'GET', 'url.path': '/x/y', 'url.scheme': 'http' },
      ...{ 'url.query': 'a=1&sig=REDACTED', 'http.route': '/x/*' },
      ...{ 'http.response.status_code': 200, 'network.protocol.version': '1.1' },
      ...{ 'user_agent.original': 'test', 'server.port': 80 },
      ...{ 'client.address': '127.0.0.1', 'pillion.service': 'shop/web:80/TCP' },
    },
  })
  t.strictSame(
    clients.map(({ parentId, isError, attributes }) => [
      ...[parentId, isError, attributes['http.response.status_code']],
      ...[attributes['http.request.resend_count'], attributes['error.type']],
    ]),
    [
      [server?.spanId, true, 503, undefined, '503'],
      [server?.spanId, false, 200, 1, undefined],
    ],
  )
  t.match(clients[1]?.attributes, {
    ...{ 'server.address': '127.0.0.1', 'server.port': backend.port },
    'url.full': `http://127.0.0.1:${backend.port}/x/y?a=1&sig=REDACTED`,
  })
  t.equal(traceparent, `00-${traceId}-${clients[1]?.spanId}-01`)
  t.ok(Math.abs((server?.startMs ?? 0) - Date.now()) < 60_000)
  t.match(collector.resources[0], {
    ...{ 'service.name': 'pillion-proxy', 'k8s.node.name': 'node-1' },
  })
})

t.test('the parent decides: what it does not sample is not told', async (t) => {
  await ask(proxy.port, 1, '/x', { headers: parent('00') })
  await ask(proxy.port, 1, '/x')
  await ask(proxy.port, 1, '/nowhere', { headers: parent('01') })
  await until(() => collector.spans.length >= 4, 'the span of the refused request')
  t.equal(collector.spans.length, 4)
  t.match(collector.spans[3], {
    ...{ name: 'GET', kind: 2, isError: false },
    attributes: { 'http.response.status_code': 404, 'pillion.response_flag': 'NR' },
  })
})

t.test('requests by route', async (t) => {
  const count = (...parts: string[]): Promise<number> =>
    proxy.metric('pillion_route_request_duration_milliseconds_count', ...parts)
  t.equal(await count('rule="HTTPRoute shop/test /x"', 'response_class="2xx"'), 3)
  t.equal(await count('rule=""', 'response_flags="NR"', 'response_class="4xx"'), 1)
})

t.test(
  'access lines: a share of the traces, and all that the proxy refused',
  async (t) => {
    await proxy.operator.send([settings({ accessLog: true, accessLogSample: 0.5 })])
    const lines = (): Record<string, unknown>[] =>
      proxy.log
        .map((text) => JSON.parse(text) as Record<string, unknown>)
        .filter(({ msg }) => msg === 'request')
    const low = `${traceId.slice(0, 24)}00000001`
    const high = `${traceId.slice(0, 24)}f0000001`
    await ask(proxy.port, 1, '/x/low', { headers: parent('00', low) })
    await ask(proxy.port, 1, '/x/high', { headers: parent('00', high) })
    await ask(proxy.port, 1, '/nowhere', { headers: parent('00', high) })
    await until(() => lines().some(({ path }) => path === '/nowhere'), 'the last line')
    t.strictSame(
      lines().map(({ path, flag }) => [path, flag]),
      [
        ['/x/low', '-'],
        ['/nowhere', 'NR'],
      ],
    )
  },
)
