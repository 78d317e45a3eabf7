// SPDX-License-Identifier: Apache-2.0
// PURE: pods and nodes to identities, addresses and the workloads of each node. A change costs the pods that changed; all are
// looked at when nodes, or the labels that policies ask for, changed.
import { Map as PersistentMap, Set as PersistentSet } from 'immutable'
import {
  type Address,
  type Identity,
  type Prefix,
  type Workload,
  VersionedMap,
} from '@pillion/contract'
import type { Snapshot } from '../index/objects.ts'
import {
  blockMessages,
  nodeAddresses,
  ownersOf,
  planAddresses,
  type NodeAddresses,
} from './addresses.ts'
import { blocksOf, cidrKey, identityNumber, prefixesOf } from './cidr.ts'
import {
  addressesOf,
  hasEnded,
  identityKey,
  identityOf,
  ignoredLabels,
  podFact,
  type Pod,
  type PodFact,
} from './pod-fact.ts'
import { allocate, type Pool } from './pool.ts'

export interface Workloads {
  /** By "namespace/pod". Pods that have ended are not in it. */
  readonly facts: PersistentMap<string, PodFact>
  readonly byAddress: PersistentMap<string, PodFact>
  readonly identities: VersionedMap<Identity>
  /** As every node but the owner sees them: node addresses are REMOTE_NODE. */
  readonly addresses: VersionedMap<Address>
  /** A node's own addresses as it sees them itself, by node, then by name. */
  readonly ownAddresses: ReadonlyMap<string, ReadonlyMap<string, Address>>
  readonly workloadsByNode: PersistentMap<string, VersionedMap<Workload>>
  /** Numbers of a named port in the pods of an identity, by "256/TCP/http". */
  readonly namedPorts: VersionedMap<readonly number[]>
  readonly pool: Pool
  /** Pods ("namespace/pod") and addresses that are others than in the compile before. */
  readonly touched: ReadonlySet<string>
  /** Pods by identity key, and by "256/TCP/http" and number: the last one that leaves is noticed. */
  readonly counts: PersistentMap<string, number>
  readonly portCounts: PersistentMap<string, PersistentMap<number, number>>
  /** Pods that claim an address: for a moment there may be two. */
  readonly claims: PersistentMap<string, PersistentSet<string>>
  readonly nodes: readonly NodeAddresses[]
  /** Blocks that policies name. */
  readonly prefixes: ReadonlyMap<string, Prefix>
  /** Their Address resources. */
  readonly blocks: ReadonlyMap<string, Address>
  readonly ignored: ReadonlySet<string>
}

function noWorkloads(pool: Pool): Workloads {
  return {
    facts: PersistentMap(),
    byAddress: PersistentMap(),
    identities: VersionedMap.empty(),
    addresses: VersionedMap.empty(),
    ownAddresses: new Map(),
    workloadsByNode: PersistentMap(),
    namedPorts: VersionedMap.empty(),
    pool,
    touched: new Set(),
    counts: PersistentMap(),
    portCounts: PersistentMap(),
    claims: PersistentMap(),
    nodes: [],
    prefixes: new Map(),
    blocks: new Map(),
    ignored: new Set(),
  }
}

/** A pod that came, went or is another than before; `fact` undefined: gone. */
interface Change {
  readonly name: string
  readonly old: PodFact | undefined
  readonly fact: PodFact | undefined
}

/** What a compile has to look at again. */
export interface Scope {
  /** Names of pods that changed; undefined: all of them, and the nodes. */
  readonly pods: ReadonlySet<string> | undefined
  /** Whether a policy changed: which labels and blocks are asked for. */
  readonly policies: boolean
}

export function compileWorkloads(
  snapshot: Snapshot,
  pool: Pool,
  previous: Workloads | undefined,
  { pods, policies }: Scope,
): Workloads {
  const before = previous ?? noWorkloads(pool)
  const asksAgain = previous === undefined || policies
  const ignored = asksAgain ? ignoredLabels(snapshot) : before.ignored
  const found = asksAgain ? prefixesOf(snapshot) : before.prefixes
  const prefixes = sameNames(found, before.prefixes) ? before.prefixes : found
  const sameRules = sameNames(ignored, before.ignored) && prefixes === before.prefixes
  const some =
    previous !== undefined && sameRules && pool === before.pool ? pods : undefined
  const names = some ?? new Set([...snapshot.Pod.keys(), ...before.facts.keys()])
  const nodes = some === undefined ? nodeAddresses(snapshot, prefixes) : before.nodes

  const keys = new Map<string, string>()
  for (const name of names) {
    const pod = snapshot.Pod.get(name)
    if (pod === undefined || hasEnded(pod)) continue
    const old = before.facts.get(name)
    const known = sameRules && old?.pod === pod
    const key = known
      ? old.identityKey
      : identityKey(pod, ignored, blocksOf(prefixes, addressesOf(pod)))
    keys.set(name, key)
  }
  const counts = before.counts.withMutations((draft) => {
    for (const name of names) {
      add(draft, before.facts.get(name)?.identityKey, -1)
      add(draft, keys.get(name), 1)
    }
  })
  const affected = [...names].flatMap((name) => [
    before.facts.get(name)?.identityKey,
    keys.get(name),
  ])
  const isSame = some !== undefined && sameKeys(counts, before.counts, affected)
  const nextPool = isSame
    ? pool
    : allocate(pool, new Set([...counts.keys(), ...addressKeys(prefixes, nodes)]))
  const changes = [...names].flatMap((name): Change[] => {
    const old = before.facts.get(name)
    const fact = factOf(old, snapshot.Pod.get(name), keys.get(name), nextPool)
    return fact === old ? [] : [{ name, old, fact }]
  })
  const blocks = some === undefined ? blockMessages(prefixes, nextPool) : before.blocks
  const next = { counts, pool: nextPool, ignored, nodes, prefixes, blocks }
  return put(before, changes, next)
}

function sameNames(
  a: { keys(): Iterable<string>; readonly size: number },
  b: { has(name: string): boolean; readonly size: number },
): boolean {
  if (a.size !== b.size) return false
  for (const name of a.keys()) if (!b.has(name)) return false
  return true
}

/** Identities that no pod has: blocks, and nodes in blocks. */
function addressKeys(
  prefixes: Workloads['prefixes'],
  nodes: readonly NodeAddresses[],
): string[] {
  return [
    ...[...prefixes.values()].map((prefix) => cidrKey(prefixes, prefix)),
    ...nodes.flatMap(({ keys }) => [...keys.values()]),
  ]
}

function add<K>(counts: PersistentMap<K, number>, key: K | undefined, by: number): void {
  if (key === undefined) return
  const sum = (counts.get(key) ?? 0) + by
  if (sum === 0) counts.delete(key)
  else counts.set(key, sum)
}

/** Whether an identity came to be or lost its last pod. O(`keys`). */
function sameKeys(
  a: PersistentMap<string, number>,
  b: PersistentMap<string, number>,
  keys: Iterable<string | undefined>,
): boolean {
  for (const key of keys) if (key !== undefined && a.has(key) !== b.has(key)) return false
  return true
}

function factOf(
  old: PodFact | undefined,
  pod: Pod | undefined,
  key: string | undefined,
  pool: Pool,
): PodFact | undefined {
  if (pod === undefined || key === undefined) return undefined
  const identity = identityNumber(pool, key)
  const known = old?.pod === pod && old.identity === identity && old.identityKey === key
  return known ? old : podFact(pod, key, identity)
}

/** `before` with the changes in every table. */
function put(
  before: Workloads,
  changes: readonly Change[],
  next: Pick<Workloads, 'counts' | 'pool' | 'ignored' | 'nodes' | 'prefixes' | 'blocks'>,
): Workloads {
  const facts = before.facts.withMutations((draft) => {
    for (const { name, fact } of changes) {
      if (fact === undefined) draft.delete(name)
      else draft.set(name, fact)
    }
  })
  const { claims, byAddress, touched } = ownersOf(before, changes, facts)
  const portCounts = countPorts(before.portCounts, changes)
  return {
    ...next,
    facts,
    claims,
    byAddress,
    identities:
      next.pool === before.pool && before.identities.size === next.pool.live.size
        ? before.identities
        : identitiesOf(before.identities, next.pool),
    ...planAddresses(before, byAddress, touched, next),
    workloadsByNode: byNode(before.workloadsByNode, changes),
    portCounts,
    namedPorts: namedPortsOf(before, portCounts, changes),
    touched: new Set([...changes.map(({ name }) => name), ...touched]),
  }
}

function identitiesOf(
  before: VersionedMap<Identity>,
  pool: Pool,
): VersionedMap<Identity> {
  const now = new Map(
    [...pool.live.keys()].map((key) => {
      const id = identityNumber(pool, key)
      return [String(id), identityOf(key, id)]
    }),
  )
  return before.with(
    now,
    [...before.keys()].filter((name) => !now.has(name)),
  )
}

function byNode(
  before: Workloads['workloadsByNode'],
  changes: readonly Change[],
): Workloads['workloadsByNode'] {
  const sets = new Map<string, [string, Workload][]>()
  const removals = new Map<string, string[]>()
  for (const { name, old, fact } of changes) {
    if (old !== undefined && old.node !== '' && old.node !== fact?.node)
      at(removals, old.node).push(name)
    if (fact !== undefined && fact.node !== '')
      at(sets, fact.node).push([name, fact.workload])
  }
  return before.withMutations((draft) => {
    for (const node of new Set([...sets.keys(), ...removals.keys()])) {
      const known = draft.get(node) ?? VersionedMap.empty<Workload>()
      draft.set(node, known.with(sets.get(node) ?? [], removals.get(node)))
    }
  })
}

function at<V>(lists: Map<string, V[]>, name: string): V[] {
  let list = lists.get(name)
  if (list === undefined) lists.set(name, (list = []))
  return list
}

/** "256/TCP/http" and the number, for every named port of a pod. */
function portsOf(fact: PodFact | undefined): [string, number][] {
  if (fact === undefined) return []
  const { containers, initContainers } = fact.pod.spec
  return [...containers, ...initContainers].flatMap(({ ports }) =>
    ports.flatMap(({ name, containerPort, protocol }): [string, number][] =>
      name === undefined ? [] : [[`${fact.identity}/${protocol}/${name}`, containerPort]],
    ),
  )
}

function countPorts(
  before: Workloads['portCounts'],
  changes: readonly Change[],
): Workloads['portCounts'] {
  const change = (
    draft: Workloads['portCounts'],
    key: string,
    port: number,
    by: number,
  ) => {
    const counts = (draft.get(key) ?? PersistentMap<number, number>()).withMutations(
      (numbers) => {
        add(numbers, port, by)
      },
    )
    if (counts.size === 0) draft.delete(key)
    else draft.set(key, counts)
  }
  return before.withMutations((draft) => {
    for (const { old, fact } of changes) {
      for (const [key, port] of portsOf(old)) change(draft, key, port, -1)
      for (const [key, port] of portsOf(fact)) change(draft, key, port, 1)
    }
  })
}

function namedPortsOf(
  { namedPorts }: Workloads,
  counts: Workloads['portCounts'],
  changes: readonly Change[],
): Workloads['namedPorts'] {
  const keys = new Set(
    changes
      .flatMap(({ old, fact }) => [...portsOf(old), ...portsOf(fact)])
      .map(([key]) => key),
  )
  const sets: [string, number[]][] = []
  const removals: string[] = []
  for (const key of keys) {
    const numbers = counts.get(key)
    if (numbers === undefined) removals.push(key)
    else sets.push([key, [...numbers.keys()].sort((a, b) => a - b)])
  }
  return namedPorts.with(sets, removals)
}
