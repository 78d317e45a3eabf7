// SPDX-License-Identifier: Apache-2.0
// PURE: Services and their EndpointSlices to ServicePorts and Endpoints. A change costs the Services that it concerns.
import { Map as PersistentMap, Set as PersistentSet } from 'immutable'
import {
  formatEndpoint,
  parseAddress,
  type Endpoint,
  type ServicePort,
  same,
  VersionedMap,
} from '@pillion/contract'
import type { Snapshot } from '../index/objects.ts'
import type { Declaration } from './attach.ts'
import { servicePortName, type Service } from './parents.ts'
import {
  claim,
  noFrontends,
  ownedAddresses,
  type Frontends,
  type ServiceChange,
} from './frontends.ts'
import { allocate, numberOf, type Pool } from './pool.ts'
import { endpointMessage, servicePortMessage, type Slice } from './service-messages.ts'
import type { PodFact } from './pod-fact.ts'
import type { Workloads } from './workloads.ts'

/** One Service compiled, with all that it was compiled from. */
interface Entry {
  readonly service: Service
  readonly slices: readonly Slice[]
  readonly pods: readonly (PodFact | undefined)[]
  readonly declarations: readonly (Declaration | undefined)[]
  readonly ids: readonly number[]
  /** External addresses, per port. */
  readonly external: readonly (readonly string[])[]
  readonly ports: readonly (readonly [string, ServicePort])[]
  /** Per port, in the order of `ports`. */
  readonly endpoints: readonly ReadonlyMap<string, Endpoint>[]
}

export interface Services {
  readonly entries: PersistentMap<string, Entry>
  readonly servicePorts: VersionedMap<ServicePort>
  readonly endpoints: VersionedMap<Endpoint>
  /** Endpoints by ServicePort name, for the views of proxies. */
  readonly endpointsOf: PersistentMap<string, ReadonlyMap<string, Endpoint>>
  readonly frontends: Frontends
  /** Services by the pods and addresses that their slices name. */
  readonly users: PersistentMap<string, PersistentSet<string>>
  /** ServicePorts that are others, or have other endpoints, than in the compile before. */
  readonly touched: ReadonlySet<string>
  readonly pool: Pool
}

function noServices(pool: Pool): Services {
  return {
    entries: PersistentMap(),
    servicePorts: VersionedMap.empty(),
    endpoints: VersionedMap.empty(),
    endpointsOf: PersistentMap(),
    frontends: noFrontends,
    users: PersistentMap(),
    touched: new Set(),
    pool,
  }
}

/** `names`: Services ("namespace/name") that a change may concern; undefined: all. */
export function compileServices(
  snapshot: Snapshot,
  workloads: Workloads,
  declarations: ReadonlyMap<string, Declaration>,
  pool: Pool,
  previous: Services | undefined,
  names: ReadonlySet<string> | undefined,
): Services {
  const before = previous ?? noServices(pool)
  const given =
    names === undefined || pool !== before.pool
      ? new Set([...snapshot.Service.keys(), ...before.entries.keys()])
      : names
  const nextPool = poolOf(snapshot, pool, before, given)
  const { frontends, neighbours } = claim(
    before.frontends,
    serviceChanges(snapshot, before, given),
  )
  const changes = [...new Set([...given, ...neighbours])].flatMap((name): Change[] => {
    const old = before.entries.get(name)
    const service = served(snapshot.Service.get(name))
    const external = service?.spec.ports.map((port) =>
      ownedAddresses(service, port, frontends, snapshot.Service),
    )
    const entry =
      service &&
      compileService(
        service,
        [...(snapshot.slices.get(name)?.values() ?? [])],
        workloads,
        declarations,
        nextPool,
        external ?? [],
        old,
      )
    return entry === old ? [] : [{ name, old, entry }]
  })
  const isSame = nextPool === before.pool && frontends === before.frontends
  return put(isSame ? before : { ...before, pool: nextPool, frontends }, changes)
}

/** Of the Services that are looked at, those that are others than before. */
function serviceChanges(
  snapshot: Snapshot,
  before: Services,
  look: ReadonlySet<string>,
): ServiceChange[] {
  return [...look].flatMap((name) => {
    const old = before.entries.get(name)?.service
    const now = served(snapshot.Service.get(name))
    return old === now ? [] : [{ name, old, now }]
  })
}

interface Change {
  readonly name: string
  readonly old: Entry | undefined
  readonly entry: Entry | undefined
}

function served(service: Service | undefined): Service | undefined {
  return service?.spec.type === 'ExternalName' ? undefined : service
}

function namesOf(service: Service | undefined): string[] {
  return service?.spec.ports.map((port) => servicePortName(service, port)) ?? []
}

/** O(Services) when one of them got or lost a port. */
function poolOf(
  snapshot: Snapshot,
  pool: Pool,
  before: Services,
  look: ReadonlySet<string>,
): Pool {
  const same = [...look].every((name) => {
    const old = before.entries.get(name)?.service
    const now = served(snapshot.Service.get(name))
    return old === now || namesOf(old).join() === namesOf(now).join()
  })
  if (same && pool === before.pool) return pool
  return allocate(
    pool,
    new Set(
      [...snapshot.Service.values()].flatMap((service) => namesOf(served(service))),
    ),
  )
}

/** `before` with the changes in every table. */
function put(before: Services, changes: readonly Change[]): Services {
  if (changes.length === 0) return before
  const flat = (entry: Entry | undefined): [string, Endpoint][] =>
    entry?.endpoints.flatMap((endpoints) => [...endpoints]) ?? []
  const portNames = (entry: Entry | undefined): string[] =>
    entry?.ports.map(([name]) => name) ?? []
  const lost = <K>(old: readonly K[], now: readonly K[]): K[] => {
    const kept = new Set(now)
    return old.filter((name) => !kept.has(name))
  }
  return {
    pool: before.pool,
    frontends: before.frontends,
    touched: new Set(
      changes.flatMap(({ old, entry }) => [...portNames(old), ...portNames(entry)]),
    ),
    entries: before.entries.withMutations((draft) => {
      for (const { name, entry } of changes) {
        if (entry === undefined) draft.delete(name)
        else draft.set(name, entry)
      }
    }),
    servicePorts: before.servicePorts.with(
      changes.flatMap(({ entry }) => entry?.ports ?? []),
      changes.flatMap(({ old, entry }) => lost(portNames(old), portNames(entry))),
    ),
    endpoints: before.endpoints.with(
      changes.flatMap(({ entry }) => flat(entry)),
      changes.flatMap(({ old, entry }) =>
        lost(
          flat(old).map(([name]) => name),
          flat(entry).map(([name]) => name),
        ),
      ),
    ),
    endpointsOf: before.endpointsOf.withMutations((draft) => {
      for (const { old, entry } of changes) {
        for (const name of lost(portNames(old), portNames(entry))) draft.delete(name)
        portNames(entry).forEach((name, i) => {
          draft.set(name, entry?.endpoints[i] ?? new Map<string, Endpoint>())
        })
      }
    }),
    users: before.users.withMutations((draft) => {
      for (const { name, old, entry } of changes) changeUsers(draft, name, old, entry)
    }),
  }
}

function changeUsers(
  users: Services['users'],
  name: string,
  old: Entry | undefined,
  entry: Entry | undefined,
): void {
  const used = new Set(entry?.slices.flatMap(usedBy))
  for (const key of new Set(old?.slices.flatMap(usedBy))) {
    if (used.has(key)) continue
    const rest = users.get(key)?.delete(name)
    if (rest === undefined || rest.size === 0) users.delete(key)
    else users.set(key, rest)
  }
  for (const key of used)
    users.set(key, (users.get(key) ?? PersistentSet<string>()).add(name))
}

/** What `podOf` looks at. */
function usedBy(slice: Slice): string[] {
  return slice.endpoints.flatMap(({ targetRef, addresses }) => {
    const namespace = targetRef?.namespace ?? slice.metadata.namespace
    const pod = targetRef?.kind === 'Pod' ? [`${namespace}/${targetRef.name ?? ''}`] : []
    return [...pod, addresses[0] ?? '']
  })
}

function compileService(
  service: Service,
  slices: readonly Slice[],
  workloads: Workloads,
  declared: ReadonlyMap<string, Declaration>,
  pool: Pool,
  external: Entry['external'],
  before: Entry | undefined,
): Entry {
  const names = service.spec.ports.map((port) => servicePortName(service, port))
  const ids = names.map((name) => numberOf(pool, name))
  const declarations = names.map((name) => declared.get(name))
  const pods = slices.flatMap((slice) =>
    slice.endpoints.map((endpoint) => podOf(slice, endpoint, workloads)),
  )
  const inputs = { service, slices, pods, declarations, ids, external }
  if (before !== undefined && unchanged(before, inputs)) return before
  const ports = service.spec.ports.map(
    (port, i) =>
      [
        names[i] ?? '',
        servicePortMessage(
          ...([service, port, ids[i] ?? 0, declarations[i]] as const),
          external[i] ?? [],
        ),
      ] as const,
  )
  const endpoints = service.spec.ports.map((port, i) => {
    const fresh = endpointsOfPort(names[i] ?? '', ids[i] ?? 0, port, slices, workloads)
    return keepEach(fresh, before?.endpoints[i])
  })
  return {
    ...inputs,
    ports: ports.map((entry, i) =>
      same(before?.ports[i], entry) ? (before?.ports[i] ?? entry) : entry,
    ),
    endpoints,
  }
}

function unchanged(before: Entry, now: Omit<Entry, 'ports' | 'endpoints'>): boolean {
  return (
    before.service === now.service &&
    equalLists(before.slices, now.slices) &&
    equalLists(before.pods, now.pods) &&
    equalLists(before.ids, now.ids) &&
    before.external.every((addresses, i) =>
      equalLists(addresses, now.external[i] ?? []),
    ) &&
    before.declarations.every((declaration, i) =>
      sameDeclaration(declaration, now.declarations[i]),
    )
  )
}

function equalLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i])
}

/** Only what a ServicePort shows of it. */
function sameDeclaration(
  a: Declaration | undefined,
  b: Declaration | undefined,
): boolean {
  return a?.protocol === b?.protocol && a?.failureMode === b?.failureMode
}

function podOf(
  slice: Slice,
  endpoint: Slice['endpoints'][number],
  workloads: Workloads,
): PodFact | undefined {
  const { targetRef } = endpoint
  if (targetRef?.kind === 'Pod') {
    const namespace = targetRef.namespace ?? slice.metadata.namespace
    const fact = workloads.facts.get(`${namespace}/${targetRef.name ?? ''}`)
    if (fact !== undefined) return fact
  }
  return workloads.byAddress.get(endpoint.addresses[0] ?? '')
}

function endpointsOfPort(
  name: string,
  serviceId: number,
  port: Service['spec']['ports'][number],
  slices: readonly Slice[],
  workloads: Workloads,
): Map<string, Endpoint> {
  const out = new Map<string, Endpoint>()
  for (const slice of slices) {
    if (slice.addressType === 'FQDN') continue
    for (const slicePort of slice.ports) {
      const number = slicePort.port ?? undefined
      const matches =
        (slicePort.name ?? '') === port.name &&
        (slicePort.protocol ?? 'TCP') === port.protocol
      if (!matches || number === undefined) continue
      for (const endpoint of slice.endpoints) {
        const fact = podOf(slice, endpoint, workloads)
        // All addresses of an endpoint are the same backend; Kubernetes lets consumers use the first alone.
        const address = parseAddress(endpoint.addresses[0] ?? '::')
        const key = `${name}|${formatEndpoint(address, number)}`
        const message = endpointMessage(serviceId, address, number, endpoint, fact)
        // An endpoint may be in two slices while it moves between them: the better word counts.
        const known = out.get(key)
        if (known === undefined || rank(message) > rank(known)) out.set(key, message)
      }
    }
  }
  return out
}

function rank({ ready, terminating }: Endpoint): number {
  return ready ? (terminating ? 1 : 2) : 0
}

function keepEach(
  fresh: ReadonlyMap<string, Endpoint>,
  before: ReadonlyMap<string, Endpoint> | undefined,
): ReadonlyMap<string, Endpoint> {
  if (before === undefined) return fresh
  return new Map(
    [...fresh].map(([name, endpoint]) => {
      const old = before.get(name)
      return [name, old !== undefined && same(old, endpoint) ? old : endpoint]
    }),
  )
}
