// SPDX-License-Identifier: Apache-2.0
// A cluster of any size as resources of one node.
import {
  Action,
  applyDelta,
  Delta,
  emptyResources,
  FailureMode,
  formatEndpoint,
  L7Protocol,
  parseAddress,
  Protocol,
  type Resource,
  type Resources,
} from '@pillion/contract'

export const endpointsEach = 10
const firstIdentity = 10_000

/** 10.128.0.0 and up: not the addresses of the pods that really run. */
const podAddress = (n: number): string =>
  `10.${128 + ((n >> 16) & 63)}.${(n >> 8) & 255}.${n & 255}`
const clusterAddress = (n: number): string =>
  `172.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`

export function servicePort(id: number, address: string): Resource {
  return {
    name: serviceName(id),
    body: {
      $case: 'servicePort',
      value: {
        ...{ id, namespace: 'scale', service: `s${id}`, port: 80, portName: '' },
        protocol: Protocol.TCP,
        addresses: [parseAddress(address)],
        l7Protocol: L7Protocol.UNSPECIFIED,
        failureMode: FailureMode.BYPASS,
        ...{ externalAddresses: [], nodePort: 0, localOnly: false, affinitySeconds: 0 },
      },
    },
  }
}

export function endpoint(
  service: number,
  address: string,
  port: number,
  identity: number,
): Resource {
  const addressBytes = parseAddress(address)
  return {
    name: `${serviceName(service)}|${formatEndpoint(addressBytes, port)}`,
    body: {
      $case: 'endpoint',
      value: {
        ...{ serviceId: service, address: addressBytes, port, weight: 1, identity },
        ...{ ready: true, terminating: false, node: 'node-2', namespace: 'scale' },
        ...{ pod: `p${service}`, workload: `w${service}`, serviceAccount: 'default' },
        ...{ app: `w${service}`, version: 'v1', zone: '', hintZones: [], hintNodes: [] },
      },
    },
  }
}

export function address(text: string, identity: number): Resource {
  return {
    name: `${text}/128`,
    body: {
      $case: 'address',
      value: {
        ...{ address: parseAddress(text), prefixLength: 128, identity },
        ...{ node: 'node-2', owner: 'scale/p', nodeAddress: false },
      },
    },
  }
}

/** Five peers may come in on one port. */
export function policy(identity: number, firstPeer: number): Resource {
  const entries = Array.from({ length: 5 }, (_, i) => ({
    ...{ peer: firstPeer + i, protocol: 6, port: 8080, portBits: 16 },
    ...{ action: Action.ALLOW, rule: identity },
  }))
  return {
    name: String(identity),
    body: {
      $case: 'subjectPolicy',
      value: {
        identity,
        ingress: { isolated: true, isolationRule: identity, entries },
        egress: undefined,
        ...{ shadowIngress: undefined, shadowEgress: undefined },
      },
    },
  }
}

/** Services 1 to `services` with ten endpoints each, and a policy for each service's pods. */
export function cluster(services: number): Resource[] {
  const resources: Resource[] = []
  for (let id = 1; id <= services; id++) {
    const identity = firstIdentity + id
    resources.push(servicePort(id, clusterAddress(id)))
    resources.push(policy(identity, firstIdentity + (id % services)))
    for (let i = 0; i < endpointsEach; i++) {
      const text = podAddress(id * endpointsEach + i)
      resources.push(endpoint(id, text, 8080, identity), address(text, identity))
    }
  }
  return resources
}

/** What a delta with these makes of `resources`. */
export function after(
  resources: Resources = emptyResources(),
  upserts: Resource[],
  removals: { kind: string; name: string }[] = [],
) {
  return applyDelta(resources, Delta.fromPartial({ version: 1, upserts, removals }))
}

function serviceName(id: number): string {
  return `scale/s${id}:80/TCP`
}
