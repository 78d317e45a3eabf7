// SPDX-License-Identifier: Apache-2.0
// PURE: who answers at an address.
import { Map as PersistentMap, Set as PersistentSet } from 'immutable'
import { parseAddress, ReservedIdentity, type Address } from '@pillion/contract'
import type { Snapshot } from '../index/objects.ts'
import type { PodFact } from './pod-fact.ts'
import type { Workloads } from './workloads.ts'

/** Addresses of one node. */
export interface NodeAddresses {
  readonly node: string
  readonly addresses: readonly string[]
}

export function nodeAddresses(snapshot: Snapshot): NodeAddresses[] {
  return [...snapshot.Node.values()].map(({ metadata, status }) => ({
    node: metadata.name,
    addresses: (status?.addresses ?? [])
      .filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
      .map(({ address }) => address),
  }))
}

interface Change {
  readonly name: string
  readonly old: PodFact | undefined
  readonly fact: PodFact | undefined
}

/** Claims and owners after `changes`, and the addresses that these concern. */
export function ownersOf(
  before: Pick<Workloads, 'claims' | 'byAddress'>,
  changes: readonly Change[],
  facts: Workloads['facts'],
): Pick<Workloads, 'claims' | 'byAddress' | 'touched'> {
  const touched = new Set<string>()
  const claims = before.claims.withMutations((draft) => {
    for (const { name, old, fact } of changes) {
      for (const address of old?.addresses ?? []) {
        const rest = draft.get(address)?.delete(name)
        if (rest === undefined || rest.size === 0) draft.delete(address)
        else draft.set(address, rest)
        touched.add(address)
      }
      for (const address of fact?.addresses ?? []) {
        draft.set(address, (draft.get(address) ?? PersistentSet<string>()).add(name))
        touched.add(address)
      }
    }
  })
  const byAddress = before.byAddress.withMutations((draft) => {
    for (const address of touched) {
      const owner = ownerOf(claims.get(address) ?? [], facts)
      if (owner === undefined) draft.delete(address)
      else draft.set(address, owner)
    }
  })
  return { claims, byAddress, touched }
}

/** A pod that is going away must not shadow the one that got its address; of two that stay the younger has it. */
function ownerOf(
  names: Iterable<string>,
  facts: Workloads['facts'],
): PodFact | undefined {
  const rank = ({ pod: { metadata } }: PodFact): string =>
    [
      (metadata.deletionTimestamp ?? undefined) === undefined ? 1 : 0,
      metadata.creationTimestamp ?? '',
      metadata.name,
    ].join(' ')
  let owner: PodFact | undefined
  for (const name of names) {
    const fact = facts.get(name)
    if (fact !== undefined && (owner === undefined || rank(fact) > rank(owner)))
      owner = fact
  }
  return owner
}

const hostName = (address: string): string => `${address}/128`

function message(text: string, rest: Omit<Address, 'address' | 'prefixLength'>): Address {
  return { address: parseAddress(text), prefixLength: 128, ...rest }
}

/** Address resources after the owners of `touched` changed. A node's address is the node's, whatever a pod says. */
export function planAddresses(
  before: Pick<Workloads, 'addresses' | 'ownAddresses' | 'nodes'>,
  byAddress: PersistentMap<string, PodFact>,
  touched: ReadonlySet<string>,
  nodes: readonly NodeAddresses[],
): Pick<Workloads, 'addresses' | 'ownAddresses'> {
  const changedNodes = nodes !== before.nodes
  const ofNodes = changedNodes ? nodeMessages(nodes) : undefined
  const isNode = (name: string): boolean =>
    ofNodes === undefined
      ? before.addresses.get(name)?.nodeAddress === true
      : ofNodes.has(name)
  const sets = new Map<string, Address>(ofNodes ?? [])
  const removals: string[] = []
  const gone = changedNodes ? before.nodes.flatMap(({ addresses }) => addresses) : []
  for (const text of new Set([...touched, ...gone])) {
    const name = hostName(text)
    if (isNode(name)) continue
    const fact = byAddress.get(text)
    if (fact === undefined) {
      removals.push(name)
      continue
    }
    const { identity, node, pod } = fact
    const owner = `${pod.metadata.namespace}/${pod.metadata.name}`
    sets.set(name, message(text, { identity, node, owner, nodeAddress: false }))
  }
  return {
    addresses: before.addresses.with(sets, removals),
    ownAddresses: changedNodes ? ownMessages(nodes) : before.ownAddresses,
  }
}

function nodeMessages(nodes: readonly NodeAddresses[]): Map<string, Address> {
  return new Map(
    nodes.flatMap(({ node, addresses }) =>
      addresses.map((text) => [
        hostName(text),
        message(text, {
          identity: ReservedIdentity.remoteNode,
          node,
          owner: `node/${node}`,
          nodeAddress: true,
        }),
      ]),
    ),
  )
}

/** A node's own addresses are HOST to itself. */
function ownMessages(nodes: readonly NodeAddresses[]): Workloads['ownAddresses'] {
  return new Map(
    nodes.map((node) => [
      node.node,
      new Map(
        [...nodeMessages([node])].map(([name, address]) => [
          name,
          { ...address, identity: ReservedIdentity.host },
        ]),
      ),
    ]),
  )
}
