// SPDX-License-Identifier: Apache-2.0
// Kinds as people write them, and the columns that `lab get` shows. Pure.
import type { KubeObject, PodObject, ServiceObject } from '@pillion/lab'

const aliases: Readonly<Record<string, string>> = {
  po: 'Pod',
  pod: 'Pod',
  svc: 'Service',
  service: 'Service',
  deploy: 'Deployment',
  deployment: 'Deployment',
  eps: 'EndpointSlice',
  ep: 'EndpointSlice',
  endpoint: 'EndpointSlice',
  endpointslice: 'EndpointSlice',
  ns: 'Namespace',
  namespace: 'Namespace',
  no: 'Node',
  node: 'Node',
  sa: 'ServiceAccount',
  serviceaccount: 'ServiceAccount',
  netpol: 'NetworkPolicy',
  networkpolicy: 'NetworkPolicy',
  httproute: 'HTTPRoute',
  grpcroute: 'GRPCRoute',
  l7: 'L7Service',
  l7service: 'L7Service',
  ap: 'AccessPolicy',
  accesspolicy: 'AccessPolicy',
  mesh: 'Mesh',
}

/** "pods", "po" or "Pod" to "Pod"; an unknown kind as it was written. */
export function kindOf(text: string): string {
  const lower = text.toLowerCase()
  const singular = [
    lower,
    lower.replace(/ies$/, 'y'),
    lower.replace(/es$/, ''),
    lower.replace(/s$/, ''),
  ]
  for (const name of singular) {
    const kind = aliases[name]
    if (kind !== undefined) return kind
  }
  return text
}

interface Columns {
  readonly head: readonly string[]
  readonly row: (object: KubeObject) => readonly string[]
}

/** Columns between NAME and AGE for a kind. */
export function columnsOf(kind: string): Columns {
  return columns[kind] ?? { head: ['STATUS'], row: (object) => [conditions(object)] }
}

interface PodStatus {
  phase?: string
  podIPs?: { ip: string }[]
  containerStatuses?: { ready: boolean; restartCount: number }[]
}

interface Endpoint {
  addresses: string[]
  conditions?: { ready?: boolean }
}

const columns: Readonly<Record<string, Columns>> = {
  Pod: {
    head: ['READY', 'STATUS', 'RESTARTS', 'NODE', 'IP'],
    row: (object) => {
      const { spec, metadata } = object as PodObject
      const status = (object.status ?? {}) as PodStatus
      const container = status.containerStatuses?.[0]
      return [
        container?.ready === true ? '1/1' : '0/1',
        metadata.deletionTimestamp === undefined ? (status.phase ?? '') : 'Terminating',
        String(container?.restartCount ?? 0),
        spec.nodeName ?? '',
        (status.podIPs ?? []).map(({ ip }) => ip).join(','),
      ]
    },
  },
  Service: {
    head: ['CLUSTER-IP', 'PORTS'],
    row: (object) => {
      const { spec } = object as ServiceObject
      const ports = (spec.ports ?? []).map(
        ({ port, protocol }) => `${port}/${protocol ?? 'TCP'}`,
      )
      return [(spec.clusterIPs ?? []).join(','), ports.join(',')]
    },
  },
  EndpointSlice: {
    head: ['PORTS', 'READY', 'NOT-READY'],
    row: (object) => {
      const ports = (object['ports'] ?? []) as { port: number }[]
      const endpoints = (object['endpoints'] ?? []) as Endpoint[]
      const pick = (ready: boolean): string =>
        endpoints
          .filter(({ conditions }) => (conditions?.ready ?? true) === ready)
          .flatMap(({ addresses }) => addresses)
          .join(',')
      return [ports.map(({ port }) => port).join(','), pick(true), pick(false)]
    },
  },
  Node: {
    head: ['ADDRESSES', 'POD-CIDRS'],
    row: (object) => {
      const { addresses = [] } = (object.status ?? {}) as {
        addresses?: { type: string; address: string }[]
      }
      const { podCIDRs = [] } = (object.spec ?? {}) as { podCIDRs?: string[] }
      const internal = addresses.filter(({ type }) => type === 'InternalIP')
      return [internal.map(({ address }) => address).join(','), podCIDRs.join(',')]
    },
  },
  Deployment: {
    head: ['REPLICAS'],
    row: (object) => [String((object.spec as { replicas?: number }).replicas ?? 1)],
  },
  Namespace: { head: [], row: () => [] },
  ServiceAccount: { head: [], row: () => [] },
}

function conditions(object: KubeObject): string {
  const { conditions: list = [] } = (object.status ?? {}) as {
    conditions?: { type: string; status: string }[]
  }
  return list.map(({ type, status }) => `${type}=${status}`).join(' ')
}
