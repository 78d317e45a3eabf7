// SPDX-License-Identifier: Apache-2.0
// PURE: who answers at an address.
import { Map as PersistentMap, Set as PersistentSet } from 'immutable'
import {
  formatAddress,
  identityBit,
  parseAddress,
  parsePrefix,
  ReservedIdentity,
  type Address,
} from '@pillion/contract'
import type { Snapshot } from '../index/objects.ts'
import { blocksOf, cidrKey, identityNumber, nodeKey } from './cidr.ts'
import type { PodFact } from './pod-fact.ts'
import type { Workloads } from './workloads.ts'

/** Addresses of one node. */
export interface NodeAddresses {
  readonly node: string
  readonly addresses: readonly string[]
  /** Identity keys of the addresses that lie in blocks. */
  readonly keys: ReadonlyMap<string, string>
}

export function nodeAddresses(
  snapshot: Snapshot,
  prefixes: Workloads['prefixes'],
): NodeAddresses[] {
  return [...snapshot.Node.values()].map(({ metadata, status }) => {
    const addresses = (status?.addresses ?? [])
      .filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
      .map(({ address }) => address)
    const keys = addresses.flatMap((text): [string, string][] => {
      const key = nodeKey(blocksOf(prefixes, [parseAddress(text)]))
      return key === undefined ? [] : [[text, key]]
    })
    return { node: metadata.name, addresses, keys: new Map(keys) }
  })
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

/**
 * Address resources after the owners of `touched` changed. A node's address is the node's, whatever a pod says; a block is
 * there where it is not the very address of somebody.
 */
export function planAddresses(
  before: Pick<Workloads, 'addresses' | 'ownAddresses' | 'nodes' | 'blocks'>,
  byAddress: PersistentMap<string, PodFact>,
  touched: ReadonlySet<string>,
  { nodes, blocks, pool }: Pick<Workloads, 'nodes' | 'blocks' | 'pool'>,
): Pick<Workloads, 'addresses' | 'ownAddresses'> {
  const isSame = nodes === before.nodes && blocks === before.blocks
  const ofNodes = isSame ? undefined : nodeMessages(nodes, pool)
  const isNode = (name: string): boolean =>
    ofNodes === undefined
      ? before.addresses.get(name)?.nodeAddress === true
      : ofNodes.has(name)
  const sets = new Map<string, Address>(isSame ? [] : blocks)
  const removals = isSame
    ? []
    : [...before.blocks.keys()].filter((name) => !blocks.has(name))
  const gone = isSame ? [] : before.nodes.flatMap(({ addresses }) => addresses)
  const single = isSame ? [] : [...blocks.values()].filter((b) => b.prefixLength === 128)
  const looked = [...touched, ...gone, ...single.map((b) => formatAddress(b.address))]
  for (const text of new Set(looked)) {
    const name = hostName(text)
    if (isNode(name)) continue
    const fact = byAddress.get(text)
    const block = blocks.get(name)
    if (fact !== undefined) sets.set(name, podMessage(text, fact))
    else if (block !== undefined) sets.set(name, block)
    else removals.push(name)
  }
  for (const [name, address] of ofNodes ?? []) sets.set(name, address)
  return {
    addresses: before.addresses.with(
      sets,
      removals.filter((name) => !sets.has(name)),
    ),
    ownAddresses: isSame ? before.ownAddresses : ownMessages(nodes, pool),
  }
}

function podMessage(text: string, { identity, node, pod }: PodFact): Address {
  const owner = `${pod.metadata.namespace}/${pod.metadata.name}`
  return message(text, { identity, node, owner, nodeAddress: false })
}

/** All of IPv4 as it lies among IPv6 addresses. */
const everyIPv4 = parsePrefix('0.0.0.0/0').name

/** Blocks as resources. An IPv6 block around the mapped IPv4 addresses is not one of IPv4: there the world stays the world. */
export function blockMessages(
  prefixes: Workloads['prefixes'],
  pool: Workloads['pool'],
): Map<string, Address> {
  const outside = { node: '', nodeAddress: false }
  const out = new Map(
    [...prefixes.values()].map((prefix): [string, Address] => {
      const { address, prefixLength, name } = prefix
      const identity = identityNumber(pool, cidrKey(prefixes, prefix))
      return [
        name,
        { address, prefixLength, identity, owner: `cidr/${name}`, ...outside },
      ]
    }),
  )
  const around = [...prefixes.values()].some(({ prefixLength }) => prefixLength < 96)
  if (around && !out.has(everyIPv4)) {
    const { address, prefixLength } = parsePrefix('0.0.0.0/0')
    const identity = ReservedIdentity.world
    out.set(everyIPv4, { address, prefixLength, identity, owner: 'world', ...outside })
  }
  return out
}

function nodeMessages(
  nodes: readonly NodeAddresses[],
  pool: Workloads['pool'],
): Map<string, Address> {
  return new Map(
    nodes.flatMap(({ node, addresses, keys }) =>
      addresses.map((text) => {
        const key = keys.get(text)
        const identity =
          key === undefined ? ReservedIdentity.remoteNode : identityNumber(pool, key)
        const rest = { identity, node, owner: `node/${node}`, nodeAddress: true }
        return [hostName(text), message(text, rest)]
      }),
    ),
  )
}

/** A node's own addresses are HOST to itself. */
function ownMessages(
  nodes: readonly NodeAddresses[],
  pool: Workloads['pool'],
): Workloads['ownAddresses'] {
  return new Map(
    nodes.map((node) => [
      node.node,
      new Map(
        [...nodeMessages([node], pool)].map(([name, address]) => [
          name,
          // In a block it keeps the number that says so: a rule may allow it.
          isBlock(address) ? address : { ...address, identity: ReservedIdentity.host },
        ]),
      ),
    ]),
  )
}

function isBlock({ identity }: Address): boolean {
  return identity >= identityBit.node
}
