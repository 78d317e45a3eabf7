// SPDX-License-Identifier: Apache-2.0
// PURE: what a Service and an EndpointSlice say, field by field, in the words of the contract.
import {
  FailureMode,
  L7Protocol,
  parseAddress,
  Protocol,
  ReservedIdentity,
  type Endpoint,
  type ServicePort,
} from '@pillion/contract'
import { defaultAffinitySeconds } from '../api/core.ts'
import type { ApiObject } from '../api/object.ts'
import type { Declaration } from './attach.ts'
import type { Service } from './parents.ts'
import { clusterAddresses } from './frontends.ts'
import type { PodFact } from './pod-fact.ts'

export type Slice = ApiObject<'EndpointSlice'>

/** `id`: of the pool of ServicePorts; `external`: the addresses that the port has of those that the Service asks for. */
export function servicePortMessage(
  service: Service,
  port: Service['spec']['ports'][number],
  id: number,
  declaration: Declaration | undefined,
  external: readonly string[],
): ServicePort {
  const addresses = clusterAddresses(service)
  const headless = addresses.length === 0
  const { internalTrafficPolicy, type } = service.spec
  const hasNodePort = type === 'NodePort' || type === 'LoadBalancer'
  return {
    id,
    namespace: service.metadata.namespace,
    service: service.metadata.name,
    port: port.port,
    portName: port.name,
    protocol: Protocol[port.protocol],
    addresses: addresses.map(parseAddress),
    l7Protocol: declaration?.protocol ?? L7Protocol.UNSPECIFIED,
    failureMode: declaration?.failureMode ?? FailureMode.BYPASS,
    externalAddresses: external.map(parseAddress),
    nodePort: headless || !hasNodePort ? 0 : (port.nodePort ?? 0),
    localOnly: internalTrafficPolicy === 'Local',
    affinitySeconds: affinitySeconds(service),
  }
}

function affinitySeconds({ spec }: Service): number {
  if (spec.sessionAffinity !== 'ClientIP') return 0
  return spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds
}

/** One address of a slice; `fact`: the pod that has it. */
export function endpointMessage(
  serviceId: number,
  address: Buffer,
  port: number,
  { conditions, nodeName, zone, hints }: Slice['endpoints'][number],
  fact: PodFact | undefined,
): Endpoint {
  const workload = fact?.workload
  return {
    serviceId,
    address,
    port,
    weight: 1,
    ...answers(conditions),
    identity: endpointIdentity(fact, nodeName ?? ''),
    node: fact?.node ?? nodeName ?? '',
    namespace: workload?.namespace ?? '',
    pod: workload?.name ?? '',
    workload: workload?.workload ?? '',
    serviceAccount: workload?.serviceAccount ?? '',
    app: workload?.app ?? 'unknown',
    version: workload?.version ?? 'unknown',
    zone: zone ?? '',
    hintZones: hints?.forZones.map(({ name }) => name) ?? [],
    hintNodes: hints?.forNodes.map(({ name }) => name) ?? [],
  }
}

/**
 * Absent means unknown, which is to be read as ready and serving (discovery/v1). One that terminates is not ready, but may go
 * on serving: nodes use it when nobody else is left (KEP-1669). Ready and terminating at once is what
 * publishNotReadyAddresses asks for: such an endpoint is used like any other.
 */
function answers(
  conditions: Slice['endpoints'][number]['conditions'],
): Pick<Endpoint, 'ready' | 'terminating'> {
  const { ready, serving, terminating } = conditions ?? {}
  if (ready ?? true) return { ready: true, terminating: false }
  return terminating === true
    ? { ready: serving ?? true, terminating: true }
    : { ready: false, terminating: false }
}

/** Who answers at the endpoint's address: a pod in the node's network is known to others by the node's address alone. */
function endpointIdentity(fact: PodFact | undefined, node: string): number {
  if (fact === undefined)
    return node === '' ? ReservedIdentity.world : ReservedIdentity.unmanaged
  return fact.workload.hostNetwork ? ReservedIdentity.remoteNode : fact.identity
}
