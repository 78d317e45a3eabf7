// SPDX-License-Identifier: Apache-2.0
import { createServer } from 'node:http'
import t from 'tap'
import { Metrics } from '../../src/metrics/metrics.ts'
import { exportLimits, SpanExporter } from '../../src/trace/exporter.ts'
import type { Span } from '../../src/trace/span.ts'
import { startCollector } from '../support/collector.ts'
import { listen } from '../support/http.ts'
import { until } from '../support/wait.ts'

const limits = { ...exportLimits, queued: 10, batch: 4, intervalMs: 20, backoffMs: 5 }
const resource = { 'service.name': 'pillion-proxy', 'k8s.node.name': 'node-1' }

function spanOf(name: string, more: Partial<Span> = {}): Span {
  return {
    ...{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), parentId: 'c'.repeat(16) },
    ...{ kind: 'CLIENT', name, startMs: 5, endMs: 7.5, isError: false },
    attributes: { text: 'é', number: 8080, nothing: undefined },
    ...more,
  }
}

function make(url: string): { exporter: SpanExporter; metrics: Metrics } {
  const metrics = new Metrics()
  const exporter = new SpanExporter(metrics, resource, limits as typeof exportLimits)
  exporter.collector = url
  return { exporter, metrics }
}

t.test('a span arrives as it is', async (t) => {
  const collector = await startCollector()
  t.teardown(async () => collector.close())
  const { exporter, metrics } = make(collector.url)
  exporter.add(spanOf('GET /a'))
  exporter.add(spanOf('POST', { kind: 'SERVER', parentId: '', isError: true }))
  await until(() => collector.spans.length === 2, 'two spans')
  t.strictSame(collector.spans[0], {
    ...{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), parentId: 'c'.repeat(16) },
    ...{ name: 'GET /a', kind: 3, durationNs: 2_500_000, isError: false },
    startMs: Math.floor(performance.timeOrigin + 5),
    attributes: { text: 'é', number: 8080 },
  })
  t.match(collector.spans[1], { kind: 2, parentId: '', isError: true })
  t.strictSame(collector.resources[0], resource)
  t.strictSame(collector.requests, [
    { path: '/v1/traces', type: 'application/x-protobuf', spans: 2 },
  ])
  await until(() => metrics.counters.spansExported === 2, 'the count')
  t.equal(metrics.gauges.spansQueued, 0)
})

t.test('a batch is sent at once, and tried again where OTLP says so', async (t) => {
  const collector = await startCollector()
  t.teardown(async () => collector.close())
  const { exporter, metrics } = make(`${collector.url}/own/path`)
  collector.answers.push(
    { status: 503 },
    { status: 429, headers: { 'retry-after': '0' } },
  )
  for (let i = 0; i < 5; i++) exporter.add(spanOf(`s${i}`))
  await until(() => metrics.counters.spansExported === 5, 'all of them')
  t.strictSame(
    collector.requests.map(({ path, spans }) => `${path} ${spans}`),
    [...Array<string>(3).fill('/own/path 4'), '/own/path 1'],
  )
  t.equal(metrics.counters.spanExportFailures, 2)
  collector.answers.push({ status: 400 })
  exporter.add(spanOf('refused'))
  await until(() => metrics.counters.spansDropped === 1, 'no second try')
  t.match(exporter.problem, /status 400/)
})

t.test('the queue is bounded while nobody takes', async (t) => {
  const server = await listen(createServer(() => undefined))
  t.teardown(async () => server.close())
  const { exporter, metrics } = make(`http://127.0.0.1:${server.port}`)
  for (let i = 0; i < 25; i++) exporter.add(spanOf(`s${i}`))
  t.equal(metrics.counters.spansDropped, 15)
  t.equal(metrics.gauges.spansQueued, 10)
  const started = performance.now()
  await exporter.close(50)
  t.ok(performance.now() - started < 1000, 'closing waits no longer than it may')
  exporter.add(spanOf('late'))
  t.equal(metrics.gauges.spansQueued, 10)
})

t.test('a collector that is not there costs five tries', async (t) => {
  const { exporter, metrics } = make('http://127.0.0.1:1')
  exporter.add(spanOf('lost'))
  await until(() => metrics.counters.spansDropped === 1, 'it is given up')
  t.equal(metrics.counters.spanExportFailures, limits.tries)
  t.match(exporter.problem, /ECONNREFUSED/)
})

t.test('closing sends what is left', async (t) => {
  const collector = await startCollector()
  t.teardown(async () => collector.close())
  const { exporter } = make(collector.url)
  for (let i = 0; i < 3; i++) exporter.add(spanOf(`s${i}`))
  await exporter.close(1000)
  t.equal(collector.spans.length, 3)
})

t.test('without a collector nothing is kept', (t) => {
  const { exporter, metrics } = make('')
  t.notOk(exporter.isOn)
  exporter.add(spanOf('x'))
  t.equal(metrics.gauges.spansQueued, 0)
  t.end()
})
