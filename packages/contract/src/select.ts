// SPDX-License-Identifier: Apache-2.0
// PURE. Which endpoints of a service a node uses. The kernel's tables and the proxy must agree, so both ask here.
import type { Endpoint } from './gen/pillion/v1/node.ts'
import type { Resources } from './resources.ts'

/** What the choice looks at. `ready` and `terminating` together: it terminates and goes on serving. */
export type Candidate = Readonly<
  Pick<Endpoint, 'ready' | 'terminating' | 'node' | 'hintZones' | 'hintNodes'>
>

/** A node and where it stands. */
export interface Place {
  readonly node: string
  /** Empty: unknown. */
  readonly zone: string
}

/** Where the question comes from, and of what kind it is. */
export interface Vantage extends Place {
  /**
   * Only endpoints of this node (internalTrafficPolicy Local). That policy is about cluster addresses: node ports and
   * external addresses are asked for with false, whatever the service says.
   */
  readonly localOnly: boolean
}

/** The place of the node that `resources` are for. */
export function placeOf(resources: Resources, node: string): Place {
  return { node, zone: resources.node.get(node)?.zone ?? '' }
}

/** What narrowed the choice. */
export type Locality = 'all' | 'node' | 'zone' | 'local-only'

/**
 * The endpoints of one address family that a connection from `from` may lead to, as kube-proxy decides it:
 * - ready ones; only when there is none, those that terminate and still serve (KEP-1669);
 * - `localOnly`: of this node alone, hints are not asked, and none means none (KEP-2086);
 * - otherwise hints, if every ready endpoint has one and one names this node, or else its zone (KEP-2433, KEP-3015). A
 *   service that is hinted in part is being written: it is used as if it had no hints. The last resort has no hints.
 */
export function selectEndpoints<E extends Candidate>(
  endpoints: readonly E[],
  from: Vantage,
): E[] {
  return choose(endpoints, from).endpoints
}

/** Which rule decides for `from`; see `selectEndpoints`. */
export function localityOf(endpoints: readonly Candidate[], from: Vantage): Locality {
  return choose(endpoints, from).locality
}

function choose<E extends Candidate>(
  endpoints: readonly E[],
  { node, zone, localOnly }: Vantage,
): { endpoints: E[]; locality: Locality } {
  if (localOnly) {
    const here = endpoints.filter((endpoint) => endpoint.node === node)
    const ready = here.filter(isReady)
    return {
      endpoints: ready.length > 0 ? ready : here.filter(isLastResort),
      locality: 'local-only',
    }
  }
  const ready = endpoints.filter(isReady)
  if (ready.length === 0)
    return { endpoints: endpoints.filter(isLastResort), locality: 'all' }
  const forNode = hinted(ready, ({ hintNodes }) => hintNodes, node)
  if (forNode.length > 0) return { endpoints: forNode, locality: 'node' }
  const forZone = hinted(ready, ({ hintZones }) => hintZones, zone)
  if (forZone.length > 0) return { endpoints: forZone, locality: 'zone' }
  return { endpoints: ready, locality: 'all' }
}

/** Those hinted for `name`; none as soon as one endpoint has no hint at all. */
function hinted<E extends Candidate>(
  ready: readonly E[],
  hintsOf: (endpoint: E) => readonly string[],
  name: string,
): E[] {
  if (name === '' || ready.some((endpoint) => hintsOf(endpoint).length === 0)) return []
  return ready.filter((endpoint) => hintsOf(endpoint).includes(name))
}

function isReady({ ready, terminating }: Candidate): boolean {
  return ready && !terminating
}

function isLastResort({ ready, terminating }: Candidate): boolean {
  return ready && terminating
}
