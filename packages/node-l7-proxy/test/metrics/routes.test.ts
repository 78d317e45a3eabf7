// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { RouteSeries } from '../../src/metrics/routes.ts'
import { compileTable } from '../../src/route/compile.ts'
import { RouteTable } from '@pillion/contract'
import { rule } from '../support/resources.ts'

const rules = compileTable('shop/web:80/TCP', {
  ...RouteTable.fromPartial({ serviceId: 1, hasRoutes: true }),
  rules: [rule('/a', { web: 1 }), rule('/b', { web: 1 })],
}).producer
const parent = 'shop/web:80/TCP'
const seen = (index: number, status: number) => ({
  ...{ parent, rule: rules[index], backend: parent, status, flag: '-', durationMs: 3 },
  grpcStatus: undefined,
})

t.test('one series a rule, backend and class of status', (t) => {
  const series = new RouteSeries()
  for (const status of [200, 204, 503]) series.observe(seen(0, status))
  series.observe(seen(1, 200))
  series.observe({ ...seen(1, 200), grpcStatus: 14 })
  series.observe({ ...seen(1, 404), rule: undefined, backend: undefined, flag: 'NR' })
  const found = [...series.samples].map(({ labels, duration }) => [
    ...[labels['rule'], labels['backend'], labels['response_class']],
    ...[labels['response_flags'], duration.count],
  ])
  t.strictSame(found, [
    ['HTTPRoute shop/test /a', parent, '2xx', '-', 2],
    ['HTTPRoute shop/test /a', parent, '5xx', '-', 1],
    ['HTTPRoute shop/test /b', parent, '2xx', '-', 1],
    ['HTTPRoute shop/test /b', parent, 'error', '-', 1],
    ['', 'none', '4xx', 'NR', 1],
  ])
  series.prune((name) => name !== parent)
  t.equal(series.size, 0)
  t.end()
})

t.test('beyond the bound they share one', (t) => {
  const series = new RouteSeries(2)
  series.observe(seen(0, 200))
  series.observe(seen(1, 200))
  for (const status of [300, 400, 400]) series.observe(seen(1, status))
  series.observe(seen(1, 200))
  t.equal(series.size, 3)
  t.equal(series.overflows, 3)
  const last = [...series.samples].at(-1)
  t.equal(last?.labels['rule'], 'overflow')
  t.equal(last?.duration.count, 3)
  t.end()
})
