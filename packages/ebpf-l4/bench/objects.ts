// SPDX-License-Identifier: Apache-2.0
// A cluster of any size as resources of one node.
import {
  Action,
  applyDelta,
  Delta,
  emptyResources,
  type Resource,
  type Resources,
} from '@pillion/contract'
import { address, endpoint, policy, servicePort } from '../test/support/resources.ts'

export const endpointsEach = 10
const firstIdentity = 10_000

/** 10.128.0.0 and up: not the addresses of the pods that really run. */
const podAddress = (n: number): string =>
  `10.${128 + ((n >> 16) & 63)}.${(n >> 8) & 255}.${n & 255}`
const clusterAddress = (n: number): string =>
  `172.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`

export function identityOf(service: number): number {
  return firstIdentity + service
}

/** Five identities may come in on one port. */
export function somePolicy(identity: number, firstPeer: number): Resource {
  const entries = Array.from({ length: 5 }, (_, i) => ({
    ...{ peer: firstPeer + i, protocol: 6, port: 8080, portBits: 16 },
    ...{ action: Action.ALLOW, rule: identity },
  }))
  return policy(identity, { isolated: true, isolationRule: identity, entries })
}

/** Services 1 to `services` with ten endpoints each, and a policy for each service's pods. */
export function cluster(services: number): Resource[] {
  const node = 'node-2'
  const resources: Resource[] = []
  for (let id = 1; id <= services; id++) {
    const identity = identityOf(id)
    resources.push(servicePort(id, [clusterAddress(id)]))
    resources.push(somePolicy(identity, identityOf(id % services)))
    for (let i = 0; i < endpointsEach; i++) {
      const text = podAddress(id * endpointsEach + i)
      resources.push(endpoint(id, text, { identity, node }))
      resources.push(address(text, { identity, node }))
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
