// SPDX-License-Identifier: Apache-2.0
// PURE. Which endpoints of a service this node may send a connection's requests to.
import { type Place, selectEndpoints } from '@pillion/contract'
import type { Endpoint } from './endpoint.ts'

/** The two choices of a service; the same list unless it is restricted to this node. */
export type Members = {
  /** By a cluster address, and for routes that lead here. */
  readonly ready: readonly Endpoint[]
  /** By a node port or an external address: internalTrafficPolicy says nothing of those. */
  readonly readyOutside: readonly Endpoint[]
  /** Cluster addresses, 16 bytes each as latin1; only of a service that is restricted. */
  readonly clusterAddresses: ReadonlySet<string>
}

const noAddresses: ReadonlySet<string> = new Set()

export function membersOf(
  service: { readonly localOnly: boolean; readonly addresses: readonly Buffer[] },
  endpoints: readonly Endpoint[],
  place: Place,
): Members {
  const readyOutside = selectEndpoints(endpoints, { ...place, localOnly: false })
  if (!service.localOnly)
    return { ready: readyOutside, readyOutside, clusterAddresses: noAddresses }
  return {
    ready: selectEndpoints(endpoints, { ...place, localOnly: true }),
    readyOutside,
    clusterAddresses: new Set(service.addresses.map(addressKey)),
  }
}

/** The endpoints for a connection that was made to `destination`, when it is `target` itself that it asked for. */
export function readyFor(
  target: Members,
  asked: boolean,
  destination: Buffer,
): readonly Endpoint[] {
  if (!asked || target.ready === target.readyOutside) return target.ready
  const isCluster = target.clusterAddresses.has(addressKey(destination))
  return isCluster ? target.ready : target.readyOutside
}

function addressKey(address: Uint8Array): string {
  return Buffer.from(address).toString('latin1')
}
