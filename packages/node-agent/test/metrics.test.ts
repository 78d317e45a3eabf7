// SPDX-License-Identifier: Apache-2.0
import { Registry } from 'prom-client'
import t from 'tap'
import { joinExpositions } from '../src/metrics.ts'
import { Names } from '../src/names.ts'
import { showTraffic, type TrafficEntry } from '../src/tcp-metrics.ts'
import { resourcesOf, shop } from './support/resources.ts'

const names = new Names(resourcesOf(shop))

/** web to api through its service, unless `key` says otherwise. */
const entry = (
  key: Partial<TrafficEntry['key']>,
  value: Partial<TrafficEntry['value']>,
): TrafficEntry => ({
  key: { srcIdentity: 300, dstIdentity: 301, service: 7, passive: 0, ...key },
  value: {
    ...{ opened: 0n, closed: 0n, sentBytes: 0n, receivedBytes: 0n, retransmits: 0n },
    ...value,
  },
})

async function textOf(...entries: TrafficEntry[]): Promise<string> {
  const registry = new Registry()
  showTraffic(
    registry,
    () => entries,
    () => names,
  )
  await registry.metrics()
  return registry.metrics() // a second scrape does not add
}

t.test("Istio's TCP metrics", async (t) => {
  const text = await textOf(
    entry({}, { opened: 2n, closed: 1n, sentBytes: 10n, receivedBytes: 20n }),
    entry({ passive: 1 }, { opened: 5n }),
  )
  const line = (name: string): string =>
    text.split('\n').find((l) => l.startsWith(`${name}{reporter="source"`)) ?? ''
  const opened = line('istio_tcp_connections_opened_total')
  for (const label of [
    'source_workload="web"',
    'source_workload_namespace="shop"',
    'source_principal="spiffe://cluster.local/ns/shop/sa/default"',
    'destination_workload="api"',
    'destination_service="api.shop.svc.cluster.local"',
    'destination_service_name="api"',
    'destination_service_namespace="shop"',
    'request_protocol="tcp"',
  ]) {
    t.ok(opened.includes(label), label)
  }
  t.match(opened, / 2$/)
  t.match(line('istio_tcp_connections_closed_total'), / 1$/)
  t.match(line('istio_tcp_received_bytes_total'), / 10$/)
  t.match(line('istio_tcp_sent_bytes_total'), / 20$/)
  t.match(text, /reporter="destination".* 5$/m)
})

t.test('what is unknown is called so', async (t) => {
  const text = await textOf(entry({ srcIdentity: 1, service: 0 }, { opened: 1n }))
  t.match(text, /source_workload="unknown"/)
  t.match(text, /destination_service="unknown"/)
})

t.test('two expositions become one without a family twice', async (t) => {
  const a = '# HELP a_total x\n# TYPE a_total counter\na_total 1\n'
  const b = '# HELP b_total x\n# TYPE b_total counter\nb_total 2\n'
  t.equal(joinExpositions(a, `${a}${b}`), `${a}${b}`)
  t.equal(joinExpositions(a, ''), a)
})
