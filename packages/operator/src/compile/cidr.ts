// SPDX-License-Identifier: Apache-2.0
// PURE: blocks of addresses that policies name. Every block becomes an identity of its own, which says in which other blocks it
// lies: the longest match on an address then answers all ipBlocks at once, and rules stay between identities.
import {
  identityBit,
  parsePrefix,
  prefixHolds,
  type Identity,
  type Prefix,
} from '@pillion/contract'
import type { Snapshot } from '../index/objects.ts'
import { numberOf, type Pool } from './pool.ts'

/** Every block of every policy, the exceptions too, each once, by name. */
export function prefixesOf(snapshot: Snapshot): ReadonlyMap<string, Prefix> {
  const blocks = [...snapshot.NetworkPolicy.values()].flatMap(({ spec }) => [
    ...(spec.ingress ?? []).flatMap(({ from }) => from),
    ...(spec.egress ?? []).flatMap(({ to }) => to),
  ])
  const texts = new Set(
    blocks.flatMap(({ ipBlock }) => (ipBlock ? [ipBlock.cidr, ...ipBlock.except] : [])),
  )
  const prefixes = [...texts].map(parsePrefix)
  return new Map(
    prefixes
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((prefix) => [prefix.name, prefix]),
  )
}

/** Names of the blocks that hold one of the addresses, sorted. */
export function blocksOf(
  prefixes: ReadonlyMap<string, Prefix>,
  addresses: readonly Uint8Array[],
): string[] {
  return [...prefixes.values()]
    .filter((prefix) => addresses.some((address) => prefixHolds(prefix, address)))
    .map(({ name }) => name)
}

/** Names of the blocks that hold the whole of a block, itself too. */
function blocksAround(prefixes: ReadonlyMap<string, Prefix>, inner: Prefix): string[] {
  return [...prefixes.values()]
    .filter(
      (prefix) =>
        prefix.prefixLength <= inner.prefixLength && prefixHolds(prefix, inner.address),
    )
    .map(({ name }) => name)
}

/** Keys of identities that are blocks, or nodes in blocks; those of pods are lists (pod-fact.ts). */
type AddressKey =
  | { readonly cidr: string; readonly blocks: readonly string[] }
  | { readonly node: readonly string[] }

/** Key of a block's identity. */
export function cidrKey(prefixes: ReadonlyMap<string, Prefix>, prefix: Prefix): string {
  const key: AddressKey = { cidr: prefix.name, blocks: blocksAround(prefixes, prefix) }
  return JSON.stringify(key)
}

/** Key of the identity of node addresses in these blocks; undefined: in none. */
export function nodeKey(blocks: readonly string[]): string | undefined {
  const key: AddressKey = { node: blocks }
  return blocks.length === 0 ? undefined : JSON.stringify(key)
}

function addressKeyOf(key: string): AddressKey | undefined {
  return key.startsWith('{') ? (JSON.parse(key) as AddressKey) : undefined
}

/** The identity of any key: its number in the pool, and the bit of its kind. */
export function identityNumber(pool: Pool, key: string): number {
  const number = numberOf(pool, key)
  const address = addressKeyOf(key)
  if (address === undefined) return number
  return number + ('cidr' in address ? identityBit.cidr : identityBit.node)
}

/** The blocks that an identity lies in, by the key that it has. */
export function blocksOfKey(key: string): readonly string[] {
  const address = addressKeyOf(key)
  if (address === undefined) return (JSON.parse(key) as [0, 0, 0, string[]?])[3] ?? []
  return 'cidr' in address ? address.blocks : address.node
}

/** The message for such an identity; undefined for a pod's. It has no namespace: no selector finds it. */
export function addressIdentity(key: string, id: number): Identity | undefined {
  const address = addressKeyOf(key)
  if (address === undefined) return undefined
  const labels: Identity['labels'] =
    'cidr' in address
      ? { cidr: textOf(address.cidr) }
      : { node: address.node.map(textOf).join(' ') }
  return { id, namespace: '', serviceAccount: '', labels }
}

/** A block as people write it: IPv4 lengths without the 96 bits before. */
function textOf(name: string): string {
  const [address = '', length = ''] = name.split('/')
  return address.includes(':') ? name : `${address}/${Number(length) - 96}`
}
