// SPDX-License-Identifier: Apache-2.0
// PURE: NetworkPolicy and the L4 part of AccessPolicy to what each identity may receive and send.
//
// O(policies × identities), and only when a policy, the set of identities, a namespace's labels or a named port changed.
import {
  Action,
  type DirectionPolicy,
  type Identity,
  type L7Policy,
  type PolicyEntry,
  type Rule,
  type SubjectPolicy,
  keep,
} from '@pillion/contract'
import { keyOf, type ApiObject } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { blocksOfKey, identityNumber } from './cidr.ts'
import type { Condition } from './condition.ts'
import { accepted } from './condition.ts'
import {
  accessDrafts,
  isShadow,
  modeAnnotation,
  modeOf,
  networkDrafts,
  type Draft,
  type DraftRule,
  type World,
} from './policy-drafts.ts'
import { anyPort, portBlocks, type PortBlock } from './ports.ts'
import {
  isAboutRequests,
  kernelPeers,
  requestPolicies,
  withJudged,
} from './request-policies.ts'
import { allocate, numberOf, type Pool } from './pool.ts'
import type { Workloads } from './workloads.ts'

export interface Policies {
  readonly subjects: ReadonlyMap<string, SubjectPolicy>
  readonly rules: ReadonlyMap<string, Rule>
  /** For proxies: of identities that rules for requests are about. */
  readonly requests: ReadonlyMap<string, L7Policy>
  /** Policies with such rules. */
  readonly aboutRequests: readonly Draft[]
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
  const draft = (world: World): Draft[] => [
    ...networks.flatMap((policy) => networkDrafts(policy, world)),
    ...accesses.map((policy) => accessDrafts(policy, world)),
  ]
  const first = draft(world)
  const whole = withJudged(world, first)
  const drafts = whole === world ? first : draft(whole)
  // Text of a rule, or of a policy where it stands for its isolation, and whether it is in Shadow mode.
  const texts = new Map(
    drafts.flatMap(({ text, rules, isShadow }) =>
      [text, ...rules.map((rule) => rule.text)].map((each) => [each, isShadow]),
    ),
  )
  const nextPool = allocate(pool, new Set(texts.keys()))
  const rules = new Map(
    [...nextPool.live].map(([text, id]): [string, Rule] => [
      String(id),
      { id, text, ...(texts.get(text) === true && { shadow: true }) },
    ]),
  )
  const conditions = new Map<string, readonly Condition[]>()
  for (const policy of [...networks, ...accesses])
    conditions.set(keyOf(policy), conditionsOf(policy))
  return {
    subjects: keep(
      compileSubjects(drafts, whole.identities, workloads, nextPool),
      previous?.subjects,
    ),
    rules: keep(rules, previous?.rules),
    requests: keep(
      requestPolicies(
        drafts,
        (identity, name) => workloads.namedPorts.get(`${identity}/TCP/${name}`) ?? [],
      ),
      previous?.requests,
    ),
    aboutRequests: drafts.filter(isAboutRequests),
    conditions,
    pool: nextPool,
  }
}

type Policy = ApiObject<'NetworkPolicy'> | ApiObject<'AccessPolicy'>

function conditionsOf(policy: Policy): Condition[] {
  if (isShadow(policy)) {
    const { namespace, name } = policy.metadata
    const command = `pillion policy shadow ${name} -n ${namespace}`
    const message = `in Shadow mode: it refuses nothing; ${command} shows what it would`
    return [{ ...accepted, message }]
  }
  const mode = modeOf(policy)
  if (mode === undefined || mode === 'Enforce') return [accepted]
  const where = `metadata.annotations["${modeAnnotation}"]`
  const message = `${where}: ${JSON.stringify(mode)} is neither "Enforce" nor "Shadow": the policy is enforced`
  const reason = 'UnsupportedValue'
  return [accepted, { type: 'PartiallyInvalid', status: 'True', reason, message }]
}

function nameOf({ metadata }: { metadata: { namespace: string; name: string } }): string {
  return `${metadata.namespace}/${metadata.name}`
}

interface Building {
  isolationRule: number
  isolated: boolean
  readonly entries: Map<string, PolicyEntry>
}

/** By direction; absent: no policy selects the subject there. */
interface BuildingSubject {
  ingress?: Building
  egress?: Building
  shadowIngress?: Building
  shadowEgress?: Building
}

const shadowOf = { ingress: 'shadowIngress', egress: 'shadowEgress' } as const

/**
 * A direction is what the enforced policies say. Where one in Shadow mode selects the subject, its shadow is what all
 * policies together would say; the kernel asks it about what the enforced ones allow.
 */
function compileSubjects(
  drafts: readonly Draft[],
  identities: readonly Identity[],
  workloads: Workloads,
  pool: Pool,
): Map<string, SubjectPolicy> {
  const subjects = new Map<number, BuildingSubject>()
  const of = (subject: number): BuildingSubject => {
    const known = subjects.get(subject)
    if (known !== undefined) return known
    const made = {}
    subjects.set(subject, made)
    return made
  }
  // Before the enforced ones: those isolate as well, but never refuse what the kernel asks the shadow about.
  for (const draft of drafts.filter(({ isShadow }) => isShadow)) {
    for (const subject of draft.subjects)
      isolate((of(subject)[shadowOf[draft.direction]] ??= empty()), draft, pool)
  }
  for (const draft of drafts) {
    const { direction } = draft
    for (const subject of draft.subjects) {
      const building = of(subject)
      const real = draft.isShadow ? undefined : (building[direction] ??= empty())
      const concerned = [real, building[shadowOf[direction]]].filter(
        (each) => each !== undefined,
      )
      for (const each of concerned) isolate(each, draft, pool)
      for (const rule of draft.rules) {
        const id = numberOf(pool, rule.text)
        for (const entry of entriesOf(draft, rule, subject, identities, workloads, id)) {
          const key = `${entry.action}/${entry.peer}/${entry.protocol}/${entry.port}/${entry.portBits}`
          for (const { entries } of concerned)
            if (!entries.has(key)) entries.set(key, entry)
        }
      }
    }
  }
  return new Map(
    [...subjects].map(([identity, building]) => [
      String(identity),
      {
        identity,
        ingress: finish(building.ingress),
        egress: finish(building.egress),
        shadowIngress: finish(building.shadowIngress),
        shadowEgress: finish(building.shadowEgress),
      },
    ]),
  )
}

function empty(): Building {
  return { isolated: false, isolationRule: 0, entries: new Map() }
}

function isolate(building: Building, { isolates, text }: Draft, pool: Pool): void {
  if (!isolates || building.isolated) return
  building.isolated = true
  building.isolationRule = numberOf(pool, text)
}

function finish(building: Building | undefined): DirectionPolicy | undefined {
  if (building === undefined) return undefined
  const { isolated, isolationRule, entries } = building
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
  const rulePeers = kernelPeers(draft, rule)
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
  if (rule.ports.length === 0) return rulePeers.map((peer) => entry(peer, 0, anyPort))
  return rule.ports.flatMap(({ protocol, protocolName, port, endPort }) => {
    if (port === undefined) return rulePeers.map((peer) => entry(peer, protocol, anyPort))
    if (typeof port === 'number') {
      const blocks = portBlocks(port, endPort ?? port)
      return rulePeers.flatMap((peer) =>
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
        rulePeers.map((peer) => one(peer, number)),
      )
    }
    const peers = rulePeers.includes(0)
      ? identities.map((identity) => identity.id)
      : rulePeers
    return peers.flatMap((peer) => numbers(peer).map((number) => one(peer, number)))
  })
}
