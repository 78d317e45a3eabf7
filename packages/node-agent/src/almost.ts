// SPDX-License-Identifier: Apache-2.0
// PURE. In words: the rule that almost allowed what default deny refused.
import {
  Protocol,
  protocolToJSON,
  type DirectionPolicy,
  type Identity,
  type SubjectPolicy,
  withoutJudged,
} from '@pillion/contract'
import { Direction, nearest, type Judgement, type Nearest } from '@pillion/ebpf-l4'
import type { Names } from './names.ts'

/** A connection between identities. */
export interface Attempt {
  readonly src: number
  readonly dst: number
  /** IP protocol number. */
  readonly protocol: number
  /** Of the destination. */
  readonly port: number
}

const namedPeers = 3

/**
 * "NetworkPolicy shop/api ingress[0] allows this peer on TCP port 8080, not 9090". Undefined when `denied` allows, a deny rule
 * refused, or the policies that select the subject allow nothing at all.
 */
export function almostAllowed(
  names: Names,
  attempt: Attempt,
  denied: Judgement,
): string | undefined {
  const { direction } = denied
  const isEgress =
    direction === Direction.DIRECTION_EGRESS ||
    direction === Direction.DIRECTION_SHADOW_EGRESS
  const { src, dst, protocol, port } = attempt
  const [subject, peer] = isEgress ? [src, dst] : [dst, src]
  const selected = names.resources.subjectPolicy.get(String(subject))
  const policy = selected && policyOf(selected, direction)
  if (denied.allowed || policy?.isolationRule !== denied.ruleId) return undefined
  const { identity } = names.resources
  const whoIs = (id: number) => identity.get(String(withoutJudged(id)))
  const asked = whoIs(peer)
  const found = nearest(policy, { peer, protocol, port }, (other) =>
    likeness(asked, whoIs(other)),
  )
  if (found === undefined) return undefined
  return words(names, found, attempt, isEgress ? 'to' : 'from')
}

function policyOf(
  { ingress, egress, shadowIngress, shadowEgress }: SubjectPolicy,
  direction: Direction,
): DirectionPolicy | undefined {
  return {
    [Direction.DIRECTION_INGRESS]: ingress,
    [Direction.DIRECTION_EGRESS]: egress,
    [Direction.DIRECTION_SHADOW_INGRESS]: shadowIngress,
    [Direction.DIRECTION_SHADOW_EGRESS]: shadowEgress,
  }[direction]
}

function words(
  names: Names,
  found: Nearest,
  { protocol, port }: Attempt,
  way: 'to' | 'from',
): string {
  const { differs } = found
  const rule = names.rule(found.ruleId) ?? ''
  const what = [protocolText(found.protocol), portsText(found)].filter(Boolean).join(' ')
  const not = [
    differs.protocol ? protocolText(protocol) : '',
    differs.port ? (differs.protocol ? `port ${port}` : String(port)) : '',
  ]
    .filter(Boolean)
    .join(' ')
  if (!differs.peer) return `${rule} allows this peer on ${what}, not ${not}`
  const who = peersText(names, found.peers)
  if (not === '') return `${rule} allows ${what || 'everything'}, but only ${way} ${who}`
  return `${rule} allows ${what} ${way} ${who}, not ${not} ${way} this peer`
}

function portsText({ ports }: Nearest): string {
  const list = ports.map(({ first, last }) =>
    first === last ? String(first) : `${first}-${last}`,
  )
  if (list.length === 0) return ''
  const single = list.length === 1 && ports[0]?.first === ports[0]?.last
  return `${single ? 'port' : 'ports'} ${list.join(', ')}`
}

/** "TCP"; the number of a protocol that the contract does not name; empty for 0, every protocol. */
export function protocolText(protocol: number): string {
  if (protocol === 0) return ''
  const known = (Object.values(Protocol) as number[]).includes(protocol)
  return known
    ? protocolToJSON(protocol as Protocol).replace('PROTOCOL_', '')
    : `protocol ${protocol}`
}

/**
 * Many identities may satisfy one selector, and the selector itself is not on the wire: what they have in common comes
 * close. Otherwise, some by name.
 */
function peersText(names: Names, peers: readonly number[]): string {
  const { identity } = names.resources
  const known = peers.map((id) => identity.get(String(withoutJudged(id))))
  const [first, ...others] = known
  if (first !== undefined && first.namespace !== '') {
    const common = Object.entries(first.labels).filter(([key, value]) =>
      others.every((other) => other?.labels[key] === value),
    )
    const labels = common.map(([key, value]) => `${key}=${value}`).join(',')
    const namespaces = [...new Set(known.map((one) => one?.namespace ?? ''))]
    if (namespaces.length === 1)
      return labels === ''
        ? `pods of ${first.namespace}`
        : `${labels} in ${first.namespace}`
    if (labels !== '' && !namespaces.includes('')) return labels
  }
  const some = peers.slice(0, namedPeers).map((id) => names.identity(id))
  const more = peers.length - some.length
  return some.join('; ') + (more > 0 ? `; ${more} more` : '')
}

/** How much two peers have in common. */
function likeness(a: Identity | undefined, b: Identity | undefined): number {
  if (a === undefined || b === undefined) return 0
  const labels = Object.entries(a.labels).filter(
    ([key, value]) => b.labels[key] === value,
  )
  return labels.length + Number(a.namespace === b.namespace)
}
