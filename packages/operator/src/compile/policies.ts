// SPDX-License-Identifier: Apache-2.0
// PURE: NetworkPolicy and the L4 part of AccessPolicy to what each identity may receive and send.
//
// O(policies × identities), and only when a policy, the set of identities, a namespace's labels or a named port changed.
import {
  Action,
  type DirectionPolicy,
  type Identity,
  type PolicyEntry,
  type Rule,
  type SubjectPolicy,
} from '@pillion/contract'
import { keyOf } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { blocksOfKey, identityNumber } from './cidr.ts'
import type { Condition } from './condition.ts'
import { accepted } from './condition.ts'
import {
  accessDrafts,
  networkDrafts,
  type Draft,
  type DraftRule,
  type World,
} from './policy-drafts.ts'
import { anyPort, portBlocks, type PortBlock } from './ports.ts'
import { allocate, numberOf, type Pool } from './pool.ts'
import { keep } from './same.ts'
import type { Workloads } from './workloads.ts'

export interface Policies {
  readonly subjects: ReadonlyMap<string, SubjectPolicy>
  readonly rules: ReadonlyMap<string, Rule>
  readonly conditions: ReadonlyMap<string, readonly Condition[]>
  readonly pool: Pool
}

export function compilePolicies(
  snapshot: Snapshot,
  workloads: Workloads,
  pool: Pool,
  previous: Policies | undefined,
): Policies {
  const blocks = new Map(
    [...workloads.pool.live.keys()].map((key) => [
      identityNumber(workloads.pool, key),
      blocksOfKey(key),
    ]),
  )
  const world: World = {
    identities: [...workloads.identities.values()],
    blocksOf: (identity) => blocks.get(identity) ?? [],
    // An object that is missing (in a directory, or for a moment) still has a name.
    namespaceLabels: (name) =>
      snapshot.Namespace.get(`/${name}`)?.metadata.labels ?? {
        'kubernetes.io/metadata.name': name,
      },
  }
  // By kind and name, so that "the first policy that isolates" is the same one in every compile.
  const sorted = <T extends { metadata: { namespace: string; name: string } }>(
    objects: Iterable<T>,
  ): T[] => [...objects].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
  const networks = sorted(snapshot.NetworkPolicy.values())
  const accesses = sorted(snapshot.AccessPolicy.values())
  const drafts = [
    ...networks.flatMap((policy) => networkDrafts(policy, world)),
    ...accesses.map((policy) => accessDrafts(policy, world)),
  ]
  const texts = new Set(
    drafts.flatMap(({ text, rules }) => [text, ...rules.map((rule) => rule.text)]),
  )
  const nextPool = allocate(pool, texts)
  const rules = new Map(
    [...nextPool.live].map(([text, id]) => [String(id), { id, text }]),
  )
  const conditions = new Map<string, readonly Condition[]>()
  for (const policy of [...networks, ...accesses])
    conditions.set(keyOf(policy), [accepted])
  return {
    subjects: keep(
      compileSubjects(drafts, world.identities, workloads, nextPool),
      previous?.subjects,
    ),
    rules: keep(rules, previous?.rules),
    conditions,
    pool: nextPool,
  }
}

function nameOf({ metadata }: { metadata: { namespace: string; name: string } }): string {
  return `${metadata.namespace}/${metadata.name}`
}

interface Building {
  isolationRule: number
  isolated: boolean
  readonly entries: Map<string, PolicyEntry>
}

function compileSubjects(
  drafts: readonly Draft[],
  identities: readonly Identity[],
  workloads: Workloads,
  pool: Pool,
): Map<string, SubjectPolicy> {
  const subjects = new Map<number, { ingress: Building; egress: Building }>()
  const empty = (): Building => ({
    isolated: false,
    isolationRule: 0,
    entries: new Map(),
  })
  for (const draft of drafts) {
    for (const subject of draft.subjects) {
      const building = subjects.get(subject) ?? { ingress: empty(), egress: empty() }
      subjects.set(subject, building)
      const direction = building[draft.direction]
      if (draft.isolates && !direction.isolated) {
        direction.isolated = true
        direction.isolationRule = numberOf(pool, draft.text)
      }
      for (const rule of draft.rules) {
        const id = numberOf(pool, rule.text)
        for (const entry of entriesOf(draft, rule, subject, identities, workloads, id)) {
          const key = `${entry.action}/${entry.peer}/${entry.protocol}/${entry.port}/${entry.portBits}`
          if (!direction.entries.has(key)) direction.entries.set(key, entry)
        }
      }
    }
  }
  return new Map(
    [...subjects].map(([identity, { ingress, egress }]) => [
      String(identity),
      {
        identity,
        ingress: finish(ingress),
        egress: finish(egress),
        shadowIngress: undefined,
        shadowEgress: undefined,
      },
    ]),
  )
}

function finish({
  isolated,
  isolationRule,
  entries,
}: Building): DirectionPolicy | undefined {
  if (!isolated && entries.size === 0) return undefined
  const all = entries.get(`${Action.ALLOW}/0/0/0/0`)
  // Once everything is allowed, narrower permissions say nothing; denials still do.
  const kept = [...entries.values()].filter(
    (entry) => all === undefined || entry === all || entry.action === Action.DENY,
  )
  return { isolated, isolationRule, entries: kept }
}

function entriesOf(
  draft: Draft,
  rule: DraftRule,
  subject: number,
  identities: readonly Identity[],
  workloads: Workloads,
  id: number,
): PolicyEntry[] {
  const action = draft.action
  const entry = (
    peer: number,
    protocol: number,
    { port, portBits }: PortBlock,
  ): PolicyEntry => ({
    peer,
    protocol,
    port,
    portBits,
    action,
    rule: id,
  })
  if (rule.ports.length === 0) return rule.peers.map((peer) => entry(peer, 0, anyPort))
  return rule.ports.flatMap(({ protocol, protocolName, port, endPort }) => {
    if (port === undefined)
      return rule.peers.map((peer) => entry(peer, protocol, anyPort))
    if (typeof port === 'number') {
      const blocks = portBlocks(port, endPort ?? port)
      return rule.peers.flatMap((peer) =>
        blocks.map((block) => entry(peer, protocol, block)),
      )
    }
    // A name means the port of the pod that is connected to: the subject of ingress, the peer of egress.
    const numbers = (identity: number): readonly number[] =>
      workloads.namedPorts.get(`${identity}/${protocolName}/${port}`) ?? []
    const one = (peer: number, number: number): PolicyEntry =>
      entry(peer, protocol, { port: number, portBits: 16 })
    if (draft.direction === 'ingress') {
      return numbers(subject).flatMap((number) =>
        rule.peers.map((peer) => one(peer, number)),
      )
    }
    const peers = rule.peers.includes(0)
      ? identities.map((identity) => identity.id)
      : rule.peers
    return peers.flatMap((peer) => numbers(peer).map((number) => one(peer, number)))
  })
}
