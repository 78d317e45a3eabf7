// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { Metrics } from '../../src/metrics/metrics.ts'
import { ServiceSeries } from '../../src/metrics/services.ts'

t.test('one series a service and outcome, from its first count on', async (t) => {
  const series = new ServiceSeries()
  t.strictSame(series.samples('rateLimited'), [])
  series.add('rateLimited', 'a')
  series.add('rateLimited', 'a')
  series.add('limitCalls', 'a', 'ok')
  series.add('limitCalls', 'a', 'timeout')
  t.strictSame(series.samples('rateLimited'), [{ labels: { service: 'a' }, value: 2 }])
  t.strictSame(series.samples('limitCalls'), [
    { labels: { service: 'a', outcome: 'ok' }, value: 1 },
    { labels: { service: 'a', outcome: 'timeout' }, value: 1 },
  ])
})

t.test(
  'beyond the bound services share one; those that are gone make room',
  async (t) => {
    const series = new ServiceSeries(2)
    for (const name of ['a', 'b', 'c', 'd', 'a']) series.add('breakerRequests', name)
    const values = () =>
      Object.fromEntries(
        series
          .samples('breakerRequests')
          .map(({ labels, value }) => [labels['service'], value]),
      )
    t.strictSame(values(), { a: 2, b: 1, overflow: 2 })
    series.prune((name) => name !== 'b')
    t.strictSame(values(), { a: 2, overflow: 2 })
    series.add('breakerRequests', 'c')
    t.strictSame(values(), { a: 2, overflow: 2, c: 1 })
  },
)

t.test('as Prometheus reads them', async (t) => {
  const { services, registry } = new Metrics()
  services.add('rateLimited', 'shop/web:80/TCP')
  services.add('ejectionsConsecutive', 'shop/web:80/TCP')
  services.ejected = () => ['shop/web:80/TCP', 'shop/api:80/TCP', 'shop/web:80/TCP']
  const text = await registry.metrics()
  t.match(text, '# TYPE pillion_rate_limited_total counter')
  t.match(text, 'pillion_rate_limited_total{service="shop/web:80/TCP"} 1')
  t.match(text, '# TYPE pillion_ejected_endpoints gauge')
  t.match(text, 'pillion_ejected_endpoints{service="shop/web:80/TCP"} 2')
  t.match(text, 'pillion_ejected_endpoints{service="shop/api:80/TCP"} 1')
})
