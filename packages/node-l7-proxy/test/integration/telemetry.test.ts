// SPDX-License-Identifier: Apache-2.0
// What the proxy tells people: Istio's labels, the access log, a span an attempt.
import { L7Protocol, parseAddress, Resource } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

let failures = 1
const backend = await httpBackend((request, response) => {
  if (request.url?.startsWith('/shop.Cart/')) response.setHeader('grpc-status', '0')
  response.writeHead(failures-- > 0 ? 503 : 200).end('12345')
})
const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port, { workload: 'web-deployment' }),
    table(1, 'web', {
      hasRoutes: true,
      rules: [rule('/', { web: 1 }, { retry: retry(1, { codes: [503] }) })],
    }),
    service(2, 'empty', L7Protocol.HTTP),
    Resource.fromPartial({
      name: 'mesh',
      body: {
        $case: 'settings',
        value: { accessLog: true, traceSampleRatio: 1, otelMetrics: true },
      },
    }),
    Resource.fromPartial({
      name: '257',
      body: {
        $case: 'identity',
        value: { id: 257, namespace: 'clients', serviceAccount: 'buyer', labels: {} },
      },
    }),
    Resource.fromPartial({
      name: 'clients/buyer-1',
      body: {
        $case: 'workload',
        value: {
          namespace: 'clients',
          name: 'buyer-1',
          identity: 257,
          addresses: [parseAddress('127.0.1.1')],
          workload: 'buyer',
          serviceAccount: 'buyer',
          app: 'buyer',
          version: 'v2',
        },
      },
    }),
  ],
  ['--log-level', 'debug'],
)
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})

const expected = {
  reporter: 'source',
  source_workload: 'buyer',
  source_workload_namespace: 'clients',
  source_principal: 'spiffe://cluster.local/ns/clients/sa/buyer',
  source_app: 'buyer',
  source_version: 'v2',
  source_cluster: 'unknown',
  source_canonical_service: 'buyer',
  source_canonical_revision: 'v2',
  destination_workload: 'web-deployment',
  destination_workload_namespace: 'shop',
  destination_principal: 'spiffe://cluster.local/ns/shop/sa/default',
  destination_app: 'web',
  destination_version: 'v1',
  destination_cluster: 'unknown',
  destination_canonical_service: 'web',
  destination_canonical_revision: 'v1',
  destination_service: 'web.shop.svc.cluster.local',
  destination_service_name: 'web',
  destination_service_namespace: 'shop',
  request_protocol: 'http',
  response_code: '200',
  grpc_response_status: '',
  response_flags: '-',
  connection_security_policy: 'none',
}

t.test('Istio names and labels, exactly', async (t) => {
  t.equal(
    (await ask(proxy.port, 1, '/x', { from: 1, method: 'POST', body: 'abc' })).status,
    200,
  )
  const { body } = await proxy.admin('/metrics')
  const line = body.split('\n').find((each) => each.startsWith('istio_requests_total{'))
  const labels = Object.fromEntries(
    [...(line ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [
      name,
      value,
    ]),
  )
  t.strictSame(labels, expected)
  t.equal(await proxy.metric('istio_request_bytes_sum', 'source_workload="buyer"'), 3)
  t.equal(await proxy.metric('istio_response_bytes_sum', 'source_workload="buyer"'), 5)
  t.equal(
    await proxy.metric('istio_request_duration_milliseconds_bucket', 'le="+Inf"'),
    1,
  )
  t.equal(await proxy.metric('pillion_retries_total'), 1)
})

t.test("OpenTelemetry's names where the Mesh asks for them", async (t) => {
  const name = 'http_server_request_duration_seconds_count'
  const labels = ['http_route="/*"', 'http_request_method="POST"']
  t.equal(await proxy.metric(name, ...labels, 'http_response_status_code="200"'), 1)
})

type Line = {
  msg: string
  span?: { traceId: string; attributes: Record<string, unknown> }
} & Record<string, unknown>

t.test(
  'one access line a request, one span an attempt, joined by the trace',
  async (t) => {
    const lines = (): Line[] => proxy.log.map((text) => JSON.parse(text) as Line)
    await until(() => lines().some(({ msg }) => msg === 'request'), 'the access line')
    const access = lines().filter(({ msg }) => msg === 'request')
    t.equal(access.length, 1)
    t.match(access[0], {
      method: 'POST',
      path: '/x',
      status: 200,
      flag: '-',
      attempts: 2,
      sourceWorkload: 'buyer',
      service: 'shop/web:80/TCP',
      route: 'HTTPRoute shop/test /',
      endpoint: `shop/web:80/TCP|127.0.0.1:${backend.port}`,
    })
    const spans = lines().flatMap(({ span }) => span ?? [])
    t.equal(spans.length, 3, 'of the request and of each attempt')
    t.strictSame(
      new Set(spans.map(({ traceId }) => traceId)),
      new Set([access[0]?.['traceId']]),
    )
    t.equal(spans[1]?.attributes['http.request.resend_count'], 1)
  },
)

t.test('of gRPC, methods that an endpoint has answered', async (t) => {
  const headers = { 'content-type': 'application/grpc' }
  const asked = [
    [1, '/shop.Cart/Add'],
    [1, '/not.Grpc/A'],
    [1, '/not.Grpc/B'],
    [2, '/no.Endpoint/A'],
    [2, '/no.Endpoint/B'],
  ] as const
  for (const [id, path] of asked)
    await ask(proxy.port, id, path, { from: 1, method: 'POST', headers })
  const { body } = await proxy.admin('/metrics')
  const counted = body.matchAll(
    /^rpc_server_call_duration_seconds_count\{(.*)\} (\d+)$/gm,
  )
  const seen = [...counted].map(([, labels = '', count]) =>
    ['rpc_method', 'rpc_status_code']
      .map((name) => new RegExp(`${name}="([^"]*)"`).exec(labels)?.[1])
      .concat(count),
  )
  t.strictSame(seen, [
    ['shop.Cart/Add', 'OK', '1'],
    ['_OTHER', 'UNKNOWN', '2'],
    ['_OTHER', 'UNAVAILABLE', '2'],
  ])
})
