// SPDX-License-Identifier: Apache-2.0
// PURE: the addresses at which Services are met, and whose an address is that several ask for.
//
// Anybody who may write a Service may write any address into externalIPs. Taking one from another Service would break that
// one without a word, so: a cluster address is its Service's alone; of two that ask for the same external address and port
// the older has it, as with routes (creation time, then name).
import { Map as PersistentMap, Set as PersistentSet } from 'immutable'
import { formatAddress, parseAddress } from '@pillion/contract'
import type { Service } from './parents.ts'

type Port = Service['spec']['ports'][number]

/** Who asks for what, by address in canonical text. */
export interface Frontends {
  /** How many Services have it as a cluster address. */
  readonly cluster: PersistentMap<string, number>
  /** Services ("namespace/name") that have it as an external address. */
  readonly external: PersistentMap<string, PersistentSet<string>>
}

export const noFrontends: Frontends = {
  cluster: PersistentMap(),
  external: PersistentMap(),
}

/** A Service as it was and as it is; undefined: there is none. */
export interface ServiceChange {
  readonly name: string
  readonly old: Service | undefined
  readonly now: Service | undefined
}

/** Empty: headless, or not given yet. */
export function clusterAddresses(service: Service | undefined): string[] {
  if (service === undefined) return []
  const { clusterIP, clusterIPs } = service.spec
  const texts = clusterIPs.length > 0 ? clusterIPs : [clusterIP ?? '']
  return canonical(texts.filter((text) => text !== 'None'))
}

/**
 * What a Service asks to be from inside as well: externalIPs, and what a load balancer shows, unless it is a proxy that has
 * to see the connection, for TLS or the PROXY protocol (KEP-1860). Without a cluster address it is nowhere.
 */
export function externalAddresses(service: Service | undefined): string[] {
  if (service === undefined) return []
  const { spec, status } = service
  const balancer = spec.type === 'LoadBalancer' ? status?.loadBalancer?.ingress : []
  const virtual = (balancer ?? []).filter(({ ipMode }) => ipMode !== 'Proxy')
  const asked = canonical([...spec.externalIPs, ...virtual.map(({ ip }) => ip ?? '')])
  return asked.length === 0 || clusterAddresses(service).length === 0 ? [] : asked
}

/** Of IPv6 there are several texts for an address; of IPv4 there is one. */
function canonical(texts: readonly string[]): string[] {
  const given = texts.filter((text) => text !== '')
  const same = given.map((text) =>
    text.includes(':') ? formatAddress(parseAddress(text)) : text,
  )
  return same.length < 2 ? same : [...new Set(same)]
}

/** `before` with the changes, and the other Services for whose addresses they may matter. O(changes and those others). */
export function claim(
  before: Frontends,
  changes: readonly ServiceChange[],
): { frontends: Frontends; neighbours: Set<string> } {
  if (changes.length === 0) return { frontends: before, neighbours: new Set() }
  const asked = new Set<string>()
  const cluster = before.cluster.withMutations((draft) => {
    for (const { old, now } of changes) {
      const [gone, come] = [clusterAddresses(old), clusterAddresses(now)]
      for (const address of gone) count(draft, address, -1)
      for (const address of come) count(draft, address, 1)
      for (const address of [...gone, ...come])
        if (before.external.has(address)) asked.add(address)
    }
  })
  const external = before.external.withMutations((draft) => {
    for (const { name, old, now } of changes) {
      for (const address of externalAddresses(old)) {
        asked.add(address)
        const rest = draft.get(address)?.delete(name)
        if (rest === undefined || rest.size === 0) draft.delete(address)
        else draft.set(address, rest)
      }
      for (const address of externalAddresses(now)) {
        asked.add(address)
        draft.set(address, (draft.get(address) ?? PersistentSet<string>()).add(name))
      }
    }
  })
  const neighbours = new Set([...asked].flatMap((a) => [...(external.get(a) ?? [])]))
  return { frontends: { cluster, external }, neighbours }
}

function count(counts: PersistentMap<string, number>, address: string, by: number): void {
  const sum = (counts.get(address) ?? 0) + by
  if (sum === 0) counts.delete(address)
  else counts.set(address, sum)
}

/** The external addresses that `port` of the Service has. */
export function ownedAddresses(
  service: Service,
  port: Port,
  { cluster, external }: Frontends,
  services: ReadonlyMap<string, Service>,
): string[] {
  return externalAddresses(service).filter((address) => {
    if (cluster.has(address)) return false
    const others = [...(external.get(address) ?? [])].map((name) => services.get(name))
    return !others.some(
      (other) =>
        other !== undefined && sharesPort(other, port) && isOlder(other, service),
    )
  })
}

function sharesPort({ spec }: Service, { port, protocol }: Port): boolean {
  return spec.ports.some((other) => other.port === port && other.protocol === protocol)
}

function isOlder(a: Service, b: Service): boolean {
  return ageOf(a) < ageOf(b)
}

/** Compares by creation time, then by name. */
function ageOf({ metadata: { creationTimestamp, namespace, name } }: Service): string {
  return [creationTimestamp ?? '', namespace, name].join(' ')
}
