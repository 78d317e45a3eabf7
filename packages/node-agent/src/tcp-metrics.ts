// SPDX-License-Identifier: Apache-2.0
// Istio's TCP metrics from the kernel's sums by identity: none is missing when flow events are dropped, and nothing is
// done for a connection in user space.
import type { Traffic, TrafficKey } from '@pillion/ebpf-l4'
import { Counter, type Registry } from 'prom-client'
import type { Names, Peer } from './names.ts'

const labelNames = [
  'reporter',
  ...['source', 'destination'].flatMap((side) =>
    [
      'workload',
      'workload_namespace',
      'principal',
      'app',
      'version',
      'canonical_service',
      'canonical_revision',
      'cluster',
    ].map((name) => `${side}_${name}`),
  ),
  'destination_service',
  'destination_service_name',
  'destination_service_namespace',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
] as const

/** One sum of pl_traffic. */
export interface TrafficEntry {
  readonly key: TrafficKey
  readonly value: Traffic
}

/**
 * Registers the four families. `read` and `names` are called at scrape time; who shares an identity shares a series, and a
 * series never goes down.
 */
export function showTraffic(
  registry: Registry,
  read: () => readonly TrafficEntry[],
  names: () => Names,
): void {
  const families = [
    {
      name: 'istio_tcp_connections_opened_total',
      help: 'TCP connections opened.',
      of: ({ opened }: Traffic) => opened,
    },
    {
      name: 'istio_tcp_connections_closed_total',
      help: 'TCP connections closed.',
      of: ({ closed }: Traffic) => closed,
    },
    // Istio counts from the destination's side: what the client sent was received.
    {
      name: 'istio_tcp_sent_bytes_total',
      help: 'Bytes sent by the destination, of closed connections.',
      of: ({ receivedBytes }: Traffic) => receivedBytes,
    },
    {
      name: 'istio_tcp_received_bytes_total',
      help: 'Bytes received by the destination, of closed connections.',
      of: ({ sentBytes }: Traffic) => sentBytes,
    },
    {
      name: 'pillion_tcp_retransmits_total',
      help: 'Segments sent again, of closed connections.',
      of: ({ retransmits }: Traffic) => retransmits,
    },
  ]
  const counters = families.map(({ name, help, of }, i) => {
    // The first family is asked first, and fills all: one walk over the map a scrape.
    const collect = i === 0 ? fill : undefined
    const options = { name, help, labelNames, registers: [registry] }
    return { counter: new Counter(collect ? { ...options, collect } : options), of }
  })
  function fill(): void {
    const [entries, now] = [read(), names()]
    for (const { counter } of counters) counter.reset()
    for (const { key, value } of entries) {
      const labels = labelsOf(key, now)
      for (const { counter, of } of counters) counter.inc(labels, Number(of(value)))
    }
  }
}

function labelsOf(key: TrafficKey, names: Names): Record<string, string> {
  const source = names.group(key.srcIdentity)
  const destination = names.group(key.dstIdentity)
  const service = names.serviceOf(key.service)
  const host = service && `${service.service}.${service.namespace}.svc.cluster.local`
  const passive = key.passive !== 0
  return {
    reporter: passive ? 'destination' : 'source',
    ...peerLabels('source', source),
    ...peerLabels('destination', destination),
    destination_service: orUnknown(host),
    destination_service_name: orUnknown(service?.service),
    destination_service_namespace: orUnknown(service?.namespace ?? destination.namespace),
    request_protocol: 'tcp',
    response_flags: '-',
    connection_security_policy: passive ? 'none' : 'unknown',
  }
}

function peerLabels(side: string, peer: Peer): Record<string, string> {
  const { namespace, serviceAccount } = peer
  const principal =
    namespace === '' || serviceAccount === ''
      ? 'unknown'
      : `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`
  return {
    [`${side}_workload`]: orUnknown(peer.workload),
    [`${side}_workload_namespace`]: orUnknown(namespace),
    [`${side}_principal`]: principal,
    [`${side}_app`]: orUnknown(peer.app),
    [`${side}_version`]: orUnknown(peer.version),
    [`${side}_canonical_service`]: orUnknown(peer.app),
    [`${side}_canonical_revision`]: orUnknown(peer.version),
    [`${side}_cluster`]: 'unknown',
  }
}

function orUnknown(text: string | undefined): string {
  return text === undefined || text === '' ? 'unknown' : text
}
