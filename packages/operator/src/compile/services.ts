// SPDX-License-Identifier: Apache-2.0
// PURE: Services and their EndpointSlices to ServicePorts and Endpoints. A Service of which nothing changed costs the
// comparison of its inputs; the two maps are built anew, O(endpoints), when any Service changed.
import {
  FailureMode,
  formatEndpoint,
  L7Protocol,
  parseAddress,
  Protocol,
  ReservedIdentity,
  type Endpoint,
  type ServicePort,
} from '@pillion/contract'
import type { ApiObject } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { servicePortName, type Declaration, type Service } from './attach.ts'
import { allocate, numberOf, type Pool } from './pool.ts'
import { same } from './same.ts'
import type { PodFact, Workloads } from './workloads.ts'

type Slice = ApiObject<'EndpointSlice'>

/** One Service compiled, with all that it was compiled from. */
interface Entry {
  readonly service: Service
  readonly slices: readonly Slice[]
  readonly pods: readonly (PodFact | undefined)[]
  readonly declarations: readonly (Declaration | undefined)[]
  readonly ids: readonly number[]
  readonly ports: readonly (readonly [string, ServicePort])[]
  /** Per port, in the order of `ports`. */
  readonly endpoints: readonly ReadonlyMap<string, Endpoint>[]
}

export interface Services {
  readonly entries: ReadonlyMap<string, Entry>
  readonly servicePorts: ReadonlyMap<string, ServicePort>
  readonly endpoints: ReadonlyMap<string, Endpoint>
  /** Endpoints by ServicePort name, for the views of proxies. */
  readonly endpointsOf: ReadonlyMap<string, ReadonlyMap<string, Endpoint>>
  readonly pool: Pool
}

export function compileServices(
  snapshot: Snapshot,
  workloads: Workloads,
  declarations: ReadonlyMap<string, Declaration>,
  pool: Pool,
  previous: Services | undefined,
): Services {
  const services = [...snapshot.Service].filter(
    ([, { spec }]) => spec.type !== 'ExternalName',
  )
  const names = services.flatMap(([, service]) =>
    service.spec.ports.map((port) => servicePortName(service, port)),
  )
  const nextPool = allocate(pool, new Set(names))
  const entries = new Map<string, Entry>()
  let changed = previous?.entries.size !== services.length
  for (const [name, service] of services) {
    const slices = [...(snapshot.slices.get(name)?.values() ?? [])]
    const before = previous?.entries.get(name)
    const entry = compileService(
      service,
      slices,
      workloads,
      declarations,
      nextPool,
      before,
    )
    if (entry !== before) changed = true
    entries.set(name, entry)
  }
  if (!changed && previous !== undefined) return previous
  const all = [...entries.values()]
  const perPort = all.flatMap(({ ports, endpoints }) =>
    ports.map(
      ([name], i) => [name, endpoints[i] ?? new Map<string, Endpoint>()] as const,
    ),
  )
  return {
    entries,
    servicePorts: new Map(all.flatMap(({ ports }) => ports)),
    endpoints: new Map(perPort.flatMap(([, endpoints]) => [...endpoints])),
    endpointsOf: new Map(perPort),
    pool: nextPool,
  }
}

function compileService(
  service: Service,
  slices: readonly Slice[],
  workloads: Workloads,
  declared: ReadonlyMap<string, Declaration>,
  pool: Pool,
  before: Entry | undefined,
): Entry {
  const names = service.spec.ports.map((port) => servicePortName(service, port))
  const ids = names.map((name) => numberOf(pool, name))
  const declarations = names.map((name) => declared.get(name))
  const pods = slices.flatMap((slice) =>
    slice.endpoints.map((endpoint) => podOf(slice, endpoint, workloads)),
  )
  const inputs = { service, slices, pods, declarations, ids }
  if (before !== undefined && unchanged(before, inputs)) return before
  const ports = service.spec.ports.map(
    (port, i) =>
      [names[i] ?? '', servicePort(service, port, ids[i] ?? 0, declarations[i])] as const,
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

function unchanged(
  before: Entry,
  now: Pick<Entry, 'service' | 'slices' | 'pods' | 'declarations' | 'ids'>,
): boolean {
  return (
    before.service === now.service &&
    equalLists(before.slices, now.slices) &&
    equalLists(before.pods, now.pods) &&
    equalLists(before.ids, now.ids) &&
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

function servicePort(
  service: Service,
  port: Service['spec']['ports'][number],
  id: number,
  declaration: Declaration | undefined,
): ServicePort {
  const { clusterIP, clusterIPs } = service.spec
  const texts = clusterIPs.length > 0 ? clusterIPs : [clusterIP ?? '']
  return {
    id,
    namespace: service.metadata.namespace,
    service: service.metadata.name,
    port: port.port,
    portName: port.name,
    protocol: Protocol[port.protocol],
    addresses: texts.filter((text) => text !== '' && text !== 'None').map(parseAddress),
    l7Protocol: declaration?.protocol ?? L7Protocol.UNSPECIFIED,
    failureMode: declaration?.failureMode ?? FailureMode.BYPASS,
  }
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
        // An endpoint may be in two slices while it moves between them: ready in either is ready.
        if (out.get(key)?.ready !== true) out.set(key, message)
      }
    }
  }
  return out
}

function endpointMessage(
  serviceId: number,
  address: Buffer,
  port: number,
  { conditions, nodeName }: Slice['endpoints'][number],
  fact: PodFact | undefined,
): Endpoint {
  const workload = fact?.workload
  return {
    serviceId,
    address,
    port,
    weight: 1,
    // Absent means unknown, which is to be read as ready (discovery/v1).
    ready: conditions?.ready ?? true,
    terminating: conditions?.terminating ?? false,
    identity: endpointIdentity(fact, nodeName ?? ''),
    node: fact?.node ?? nodeName ?? '',
    namespace: workload?.namespace ?? '',
    pod: workload?.name ?? '',
    workload: workload?.workload ?? '',
    serviceAccount: workload?.serviceAccount ?? '',
    app: workload?.app ?? 'unknown',
    version: workload?.version ?? 'unknown',
  }
}

/** Who answers at the endpoint's address: a pod in the node's network is known to others by the node's address alone. */
function endpointIdentity(fact: PodFact | undefined, node: string): number {
  if (fact === undefined)
    return node === '' ? ReservedIdentity.world : ReservedIdentity.unmanaged
  return fact.workload.hostNetwork ? ReservedIdentity.remoteNode : fact.identity
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
