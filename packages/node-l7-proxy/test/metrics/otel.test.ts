// SPDX-License-Identifier: Apache-2.0
import { RouteTable } from '@pillion/contract'
import t from 'tap'
import { DestinationLabels } from '../../src/metrics/labels.ts'
import { maxMethods, type OtelObservation, OtelSeries } from '../../src/metrics/otel.ts'
import { compileTable } from '../../src/route/compile.ts'
import { rule as ruleOf } from '../support/resources.ts'

const [rule] = compileTable('shop/web:80/TCP', {
  ...RouteTable.fromPartial({ serviceId: 1, hasRoutes: true }),
  rules: [ruleOf('/a', { web: 1 })],
}).producer

function serviceOf(name: string): DestinationLabels {
  const rest = { workload: '', namespace: '', principal: '', app: '', version: '' }
  const service = `${name}.shop.svc.cluster.local`
  return new DestinationLabels({
    ...{ service, serviceName: name, serviceNamespace: 'shop', ...rest },
  })
}

const service = serviceOf('web')
const http: OtelObservation = {
  ...{ service, method: 'GET', path: '/a/7', rule, http2: false },
  ...{ status: 200, grpcStatus: undefined, flag: '-', durationMs: 30 },
  answered: false,
}
const call: OtelObservation = {
  ...{ ...http, method: 'POST', path: '/shop.Cart/Add', http2: true, grpcStatus: 0 },
  answered: true,
}
const server_address = 'web.shop.svc.cluster.local'

function labelSets(series: OtelSeries, metric: Parameters<OtelSeries['samples']>[0]) {
  const counts = series
    .samples(metric)
    .filter(({ metricName }) => metricName?.endsWith('_count'))
  return counts.map(({ labels, value }) => ({ ...labels, value }))
}

t.test('http.server.request.duration', async (t) => {
  const series = new OtelSeries()
  series.observe(http)
  series.observe({ ...http, path: '/a/8' })
  series.observe({ ...http, method: 'BREW', status: 503, flag: 'UH', http2: true })
  series.observe({ ...http, rule: undefined, status: 404, flag: 'NR' })
  t.strictSame(labelSets(series, 'http_server_request_duration_seconds'), [
    {
      ...{ http_request_method: 'GET', url_scheme: 'http', server_address, value: 2 },
      ...{ network_protocol_version: '1.1', http_response_status_code: '200' },
      http_route: '/a/*',
    },
    {
      ...{ http_request_method: '_OTHER', url_scheme: 'http', server_address, value: 1 },
      ...{ network_protocol_version: '2', http_response_status_code: '503' },
      ...{ http_route: '/a/*', error_type: 'UH' },
    },
    {
      ...{ http_request_method: 'GET', url_scheme: 'http', server_address, value: 1 },
      ...{ network_protocol_version: '1.1', http_response_status_code: '404' },
    },
  ])
  const bucket = series
    .samples('http_server_request_duration_seconds')
    .find(({ labels }) => labels['le'] === 0.05)
  t.equal(bucket?.value, 2, 'in seconds')
})

t.test('rpc.server.call.duration', async (t) => {
  const series = new OtelSeries()
  series.observe(call)
  series.observe({ ...call, grpcStatus: 14, answered: false, flag: 'UF' })
  series.observe({ ...call, path: '/no.Such/Method', grpcStatus: 12 })
  const rpc = { rpc_system_name: 'grpc', server_address, value: 1 }
  t.strictSame(labelSets(series, 'rpc_server_call_duration_seconds'), [
    { ...rpc, rpc_method: 'shop.Cart/Add', rpc_status_code: 'OK' },
    {
      ...{ ...rpc, rpc_method: 'shop.Cart/Add', rpc_status_code: 'UNAVAILABLE' },
      error_type: 'UNAVAILABLE',
    },
    {
      ...{ ...rpc, rpc_method: '_OTHER', rpc_status_code: 'UNIMPLEMENTED' },
      error_type: 'UNIMPLEMENTED',
    },
  ])
  t.strictSame(labelSets(series, 'http_server_request_duration_seconds'), [])
})

t.test('what has the same labels is one series', async (t) => {
  const series = new OtelSeries()
  series.observe({ ...http, status: 403 })
  series.observe({ ...http, status: 403, flag: 'UAEX' })
  series.observe({ ...call, grpcStatus: 14 })
  series.observe({ ...call, grpcStatus: 14, answered: false, flag: 'UF', http2: false })
  t.equal(series.size, 2)
})

t.test('methods that clients invent make no series', async (t) => {
  const series = new OtelSeries()
  const early = { ...call, answered: false, rule: undefined }
  const outcomes = [
    { ...call, grpcStatus: 12 },
    { ...early, grpcStatus: 4, flag: 'UT' },
    { ...early, grpcStatus: 14, flag: 'RL' },
    { ...early, grpcStatus: 7, flag: 'UAEX' },
    { ...early, grpcStatus: 1, flag: 'DC' },
    { ...call, answered: false, grpcStatus: 2 },
  ]
  const long = '/any.Thing/'.padEnd(300, 'x')
  for (let i = 0; i < 50; i++)
    for (const outcome of outcomes) series.observe({ ...outcome, path: `/no.Such/M${i}` })
  for (let i = 0; i < 50; i++) series.observe({ ...call, path: `${long}${i}` })
  t.equal(series.size, outcomes.length + 1)
  for (const { rpc_method, value } of labelSets(
    series,
    'rpc_server_call_duration_seconds',
  ) as { rpc_method?: string; value: number }[])
    t.strictSame({ rpc_method, value }, { rpc_method: '_OTHER', value: 50 })
})

t.test('nor do endpoints that answer them all, beyond a bound', async (t) => {
  const series = new OtelSeries()
  for (let i = 0; i < 2 * maxMethods; i++)
    series.observe({ ...call, path: `/any.Thing/M${i}`, grpcStatus: 16 })
  t.equal(series.size, maxMethods + 1)
  series.observe({ ...call, service: serviceOf('other') })
  t.match(labelSets(series, 'rpc_server_call_duration_seconds').slice(-2), [
    { rpc_method: '_OTHER', value: maxMethods },
    { rpc_method: 'shop.Cart/Add', value: 1 },
  ])
})

t.test('series are bounded, and end with their Service', async (t) => {
  const series = new OtelSeries(2)
  const other = serviceOf('other')
  series.observe({ ...http, service: other })
  for (let i = 0; i < 10; i++) series.observe({ ...call, path: `/shop.Cart/M${i}` })
  t.equal(series.size, 3)
  t.strictSame(labelSets(series, 'rpc_server_call_duration_seconds').at(-1), {
    ...{ otel_metric_overflow: 'true', value: 9 },
  })
  series.prune(new Set([service]))
  t.equal(series.size, 2, 'the method that came in time, and what they share')
  series.observe(http)
  t.equal(labelSets(series, 'http_server_request_duration_seconds').length, 1)
})
