// SPDX-License-Identifier: Apache-2.0
// Istio's TCP metrics (standards.md 4) from flow events. Sums are kept here by series and shown at scrape time: a label
// lookup per event would cost more than the event.
import { EventFlag, EventKind, type FlowEvent } from '@pillion/ebpf-l4'
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

interface Series {
  readonly labels: Readonly<Record<string, string>>
  opened: number
  closed: number
  sentBytes: number
  receivedBytes: number
}

/** Default bound on series; events beyond it are counted in `overflow`. */
const maxSeries = 10_000

export class TcpMetrics {
  readonly #series = new Map<string, Series>()
  #overflow = 0

  constructor(registry: Registry) {
    const show = (
      name: string,
      help: string,
      value: (series: Series) => number,
    ): Counter => {
      const all = this.#series
      return new Counter({
        name,
        help,
        labelNames,
        registers: [registry],
        collect() {
          this.reset()
          for (const series of all.values()) this.inc(series.labels, value(series))
        },
      })
    }
    show('istio_tcp_connections_opened_total', 'TCP connections opened.', (s) => s.opened)
    show('istio_tcp_connections_closed_total', 'TCP connections closed.', (s) => s.closed)
    show(
      'istio_tcp_sent_bytes_total',
      'Bytes sent by the destination, of closed connections.',
      (s) => s.sentBytes,
    )
    show(
      'istio_tcp_received_bytes_total',
      'Bytes received by the destination, of closed connections.',
      (s) => s.receivedBytes,
    )
  }

  /** Events that found no room for a new series. */
  get overflow(): number {
    return this.#overflow
  }

  /** Counts an open or close. What the proxy carries is told by istio_requests_total, request by request. */
  record(event: FlowEvent, names: Names): void {
    const isOpen = event.kind === EventKind.EVENT_OPEN
    if (!isOpen && event.kind !== EventKind.EVENT_CLOSE) return
    if ((event.flags & EventFlag.EVENT_F_L7) !== 0) return
    const source = names.peer(event.src, event.srcIdentity)
    // The proxy's own connection on behalf of a pod: a node's address with a pod's identity.
    if (source.isNode && event.srcIdentity >= 256) return
    const series = this.#find(event, names, source)
    if (series === undefined) return
    if (isOpen) {
      series.opened++
      return
    }
    series.closed++
    // Istio counts from the destination's side: what the client sent was received.
    const passive = (event.flags & EventFlag.EVENT_F_INGRESS) !== 0
    series.receivedBytes += Number(passive ? event.bytesReceived : event.bytesSent)
    series.sentBytes += Number(passive ? event.bytesSent : event.bytesReceived)
  }

  #find(event: FlowEvent, names: Names, source: Peer): Series | undefined {
    const destination = names.peer(event.dst, event.dstIdentity)
    const service =
      event.servicePort === 0
        ? undefined
        : names.service(event.service, event.servicePort, event.protocol)
    const passive = (event.flags & EventFlag.EVENT_F_INGRESS) !== 0
    const key = [
      passive ? 'd' : 's',
      peerKey(source),
      peerKey(destination),
      service?.namespace,
      service?.service,
    ].join('|')
    const known = this.#series.get(key)
    if (known !== undefined) return known
    if (this.#series.size >= maxSeries) {
      this.#overflow++
      return undefined
    }
    const host = service && `${service.service}.${service.namespace}.svc.cluster.local`
    const labels = {
      reporter: passive ? 'destination' : 'source',
      ...peerLabels('source', source),
      ...peerLabels('destination', destination),
      destination_service: orUnknown(host),
      destination_service_name: orUnknown(service?.service),
      destination_service_namespace: orUnknown(
        service?.namespace ?? destination.namespace,
      ),
      request_protocol: 'tcp',
      response_flags: '-',
      connection_security_policy: passive ? 'none' : 'unknown',
    }
    const series = { labels, opened: 0, closed: 0, sentBytes: 0, receivedBytes: 0 }
    this.#series.set(key, series)
    return series
  }
}

function peerKey({ namespace, workload, serviceAccount, app, version }: Peer): string {
  return `${namespace}/${workload}/${serviceAccount}/${app}/${version}`
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
