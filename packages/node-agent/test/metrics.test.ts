// SPDX-License-Identifier: Apache-2.0
import { parseAddress } from '@pillion/contract'
import { EventFlag, EventKind } from '@pillion/ebpf-l4'
import { Registry } from 'prom-client'
import t from 'tap'
import { joinExpositions } from '../src/metrics.ts'
import { Names } from '../src/names.ts'
import { TcpMetrics } from '../src/tcp-metrics.ts'
import { flowEvent } from './support/events.ts'
import { resourcesOf, shop } from './support/resources.ts'

const names = new Names(resourcesOf(shop))

t.test("Istio's TCP metrics", async (t) => {
  const registry = new Registry()
  const metrics = new TcpMetrics(registry)
  metrics.record(flowEvent(), names)
  metrics.record(
    flowEvent({ kind: EventKind.EVENT_CLOSE, bytesSent: 10n, bytesReceived: 20n }),
    names,
  )
  const l7 = flowEvent({ flags: EventFlag.EVENT_F_L7 })
  const behalf = flowEvent({ src: parseAddress('10.245.0.1') })
  for (const event of [l7, behalf]) metrics.record(event, names)
  const text = await registry.metrics()
  const line = (name: string): string =>
    text.split('\n').find((l) => l.startsWith(`${name}{`)) ?? ''
  const opened = line('istio_tcp_connections_opened_total')
  for (const label of [
    'reporter="source"',
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
  t.match(opened, / 1$/, "the proxy's connections are told by the proxy")
  t.match(line('istio_tcp_received_bytes_total'), / 10$/)
  t.match(line('istio_tcp_sent_bytes_total'), / 20$/)
})

t.test('what is unknown is called so', async (t) => {
  const registry = new Registry()
  const stranger = { src: parseAddress('192.0.2.1'), srcIdentity: 1, servicePort: 0 }
  new TcpMetrics(registry).record(flowEvent(stranger), names)
  t.match(await registry.metrics(), /source_workload="unknown"/)
  t.match(await registry.metrics(), /destination_service="unknown"/)
})

t.test('two expositions become one without a family twice', async (t) => {
  const a = '# HELP a_total x\n# TYPE a_total counter\na_total 1\n'
  const b = '# HELP b_total x\n# TYPE b_total counter\nb_total 2\n'
  t.equal(joinExpositions(a, `${a}${b}`), `${a}${b}`)
  t.equal(joinExpositions(a, ''), a)
})
