// SPDX-License-Identifier: Apache-2.0
// PURE: the two kinds of policy in one form: who is subject, what is allowed or denied, to or from whom.
import { Action, parsePrefix, Protocol, type Identity } from '@pillion/contract'
import type { AccessHttp, JwtProviderSpec } from '../api/access-http.ts'
import { keyOf, type ApiObject } from '../api/object.ts'
import type { LabelSelector } from '../api/scalar.ts'
import { matches, type Labels } from './selector.ts'

/** What selectors are matched against. */
export interface World {
  readonly identities: readonly Identity[]
  /** Names of the blocks that an identity lies in. */
  readonly blocksOf: (identity: number) => readonly string[]
  readonly namespaceLabels: (namespace: string) => Labels
}

export interface DraftPort {
  readonly protocol: number
  readonly protocolName: string
  /** undefined: every port of the protocol. */
  readonly port: number | string | undefined
  readonly endPort: number | undefined
}

export interface DraftRule {
  /** "NetworkPolicy shop/api ingress[0]". */
  readonly text: string
  /** Identities; 0 is everybody. Empty: nobody. */
  readonly peers: readonly number[]
  /** Empty: every port of every protocol. */
  readonly ports: readonly DraftPort[]
  /** Empty: every connection. */
  readonly http: readonly AccessHttp[]
}

/** One direction of one policy. */
export interface Draft {
  readonly key: string
  readonly text: string
  readonly direction: 'ingress' | 'egress'
  readonly isolates: boolean
  /** Of a policy in Shadow mode: it decides nothing. */
  readonly isShadow: boolean
  readonly action: Action
  readonly subjects: readonly number[]
  readonly rules: readonly DraftRule[]
  /** Whose tokens its rules believe. */
  readonly jwt: readonly JwtProviderSpec[]
}

type NetworkPolicy = ApiObject<'NetworkPolicy'>
type AccessPolicy = ApiObject<'AccessPolicy'>
type NetworkSpec = NetworkPolicy['spec']
type NetworkPeer = NonNullable<NetworkSpec['ingress']>[number]['from'][number]

/** Of a NetworkPolicy, which has no field for it: "Shadow" or "Enforce". */
export const modeAnnotation = 'mesh.pillion.dev/mode'

/** True for a policy that is only to be watched. Any word but "Shadow" enforces: a mistake must not open what is closed. */
export function isShadow(policy: NetworkPolicy | AccessPolicy): boolean {
  return modeOf(policy) === 'Shadow'
}

/** The mode as written; undefined: nothing is. */
export function modeOf(policy: NetworkPolicy | AccessPolicy): string | undefined {
  if (policy.kind === 'AccessPolicy') return policy.spec.mode
  return policy.metadata.annotations[modeAnnotation]
}

export function networkDrafts(policy: NetworkPolicy, world: World): Draft[] {
  const { spec } = policy
  const { namespace } = policy.metadata
  const subjects = select(world, namespace, undefined, spec.podSelector)
  // Defaulting of the API: Ingress always, Egress when the policy has an egress section.
  const types =
    spec.policyTypes.length > 0
      ? spec.policyTypes
      : ['Ingress', ...(spec.egress ? ['Egress'] : [])]
  const drafts: Draft[] = []
  const direction = (
    name: 'ingress' | 'egress',
    rules: readonly { peers: readonly NetworkPeer[]; ports: DraftRule['ports'] }[],
  ): void => {
    const text = `NetworkPolicy ${namespace}/${policy.metadata.name}`
    const drafted = rules.map(({ peers, ports }, i): DraftRule => {
      // No peers at all is everybody; peers that match nobody are nobody.
      const ids =
        peers.length === 0
          ? [0]
          : unique(peers.flatMap((peer) => networkPeer(world, namespace, peer)))
      return { text: `${text} ${name}[${i}]`, peers: ids, ports, http: [] }
    })
    drafts.push({
      key: keyOf(policy),
      text: `${text} ${name}`,
      direction: name,
      isolates: true,
      isShadow: isShadow(policy),
      action: Action.ALLOW,
      subjects,
      rules: drafted,
      jwt: [],
    })
  }
  if (types.includes('Ingress')) {
    direction(
      'ingress',
      (spec.ingress ?? []).map(({ from, ports }) => ({
        peers: from,
        ports: ports.map(draftPort),
      })),
    )
  }
  if (types.includes('Egress')) {
    direction(
      'egress',
      (spec.egress ?? []).map(({ to, ports }) => ({
        peers: to,
        ports: ports.map(draftPort),
      })),
    )
  }
  return drafts
}

function networkPeer(world: World, namespace: string, peer: NetworkPeer): number[] {
  if (peer.ipBlock) return inBlock(world, peer.ipBlock)
  return select(
    world,
    namespace,
    peer.namespaceSelector ?? undefined,
    peer.podSelector ?? undefined,
  )
}

/** Whoever lies in the block and in none of its exceptions: blocks within it, pods, nodes. */
function inBlock(
  { identities, blocksOf }: World,
  { cidr, except }: NonNullable<NetworkPeer['ipBlock']>,
): number[] {
  const { name } = parsePrefix(cidr)
  const exceptions = new Set(except.map((text) => parsePrefix(text).name))
  return identities
    .filter(({ id }) => {
      const blocks = blocksOf(id)
      return blocks.includes(name) && !blocks.some((block) => exceptions.has(block))
    })
    .map(({ id }) => id)
}

export function accessDrafts(policy: AccessPolicy, world: World): Draft {
  const { spec } = policy
  const { namespace } = policy.metadata
  const text = `AccessPolicy ${namespace}/${policy.metadata.name}`
  const rules = spec.rules.map(({ from, ports, http }, i): DraftRule => ({
    text: `${text} rules[${i}]`,
    peers: unique(from.flatMap((peer) => accessPeer(world, namespace, peer))),
    ports: ports.map(draftPort),
    http,
  }))
  return {
    key: keyOf(policy),
    text,
    direction: 'ingress',
    isolates: spec.action === 'Allow',
    isShadow: isShadow(policy),
    action: spec.action === 'Allow' ? Action.ALLOW : Action.DENY,
    subjects: select(world, namespace, undefined, spec.selector),
    rules,
    jwt: spec.jwt,
  }
}

type AccessPeer = AccessPolicy['spec']['rules'][number]['from'][number]

function accessPeer(world: World, namespace: string, peer: AccessPeer): number[] {
  const { namespaceSelector, podSelector, serviceAccounts } = peer
  // Service accounts name their namespace, so alone they are not bound to the policy's.
  const everywhere: LabelSelector = { matchLabels: {}, matchExpressions: [] }
  const namespaces =
    namespaceSelector ?? (podSelector === undefined ? everywhere : undefined)
  const selected = select(world, namespace, namespaces, podSelector)
  if (serviceAccounts === undefined) return selected
  const accounts = new Set(serviceAccounts)
  const byId = new Map(world.identities.map((identity) => [identity.id, identity]))
  return selected.filter((id) => {
    const identity = byId.get(id)
    return accounts.has(`${identity?.namespace}/${identity?.serviceAccount}`)
  })
}

/** Identities of the namespaces (undefined: the policy's own) and pods (undefined: all of them). */
function select(
  world: World,
  namespace: string,
  namespaces: LabelSelector | undefined,
  pods: LabelSelector | undefined,
): number[] {
  return world.identities
    .filter(
      (identity) =>
        identity.namespace !== '' &&
        (namespaces === undefined
          ? identity.namespace === namespace
          : matches(namespaces, world.namespaceLabels(identity.namespace))) &&
        (pods === undefined || matches(pods, identity.labels)),
    )
    .map(({ id }) => id)
}

function draftPort(port: {
  protocol: keyof typeof Protocol
  port?: number | string | null | undefined
  endPort?: number | null | undefined
}): DraftPort {
  return {
    protocol: Protocol[port.protocol],
    protocolName: port.protocol,
    port: port.port ?? undefined,
    endPort: port.endPort ?? undefined,
  }
}

function unique(ids: readonly number[]): number[] {
  return [...new Set(ids)].sort((a, b) => a - b)
}
