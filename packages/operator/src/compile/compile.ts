// SPDX-License-Identifier: Apache-2.0
// PURE: objects to the resources of all nodes. A part is compiled again only when one of its inputs changed; every part keeps
// the values that stayed equal, so that everything after compares by identity.
import {
  Acceleration,
  firstIdentity,
  type Endpoint,
  type ServicePort,
  type Settings,
  keep,
  VersionedMap,
} from '@pillion/contract'
import type { ApiKind } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { attach, type Attachments } from './attach.ts'
import type { Condition, Conditions } from './condition.ts'
import { accepted } from './condition.ts'
import { compileNodes, type Nodes } from './nodes.ts'
import { notDeclared, withoutIssuer } from './request-policies.ts'
import { emptyPool, type Pool } from './pool.ts'
import { compilePolicies, type Policies } from './policies.ts'
import { compileRoutes, type Routes } from './routes.ts'
import { compileServices, type Services } from './services.ts'
import { compileWorkloads, type Workloads } from './workloads.ts'

/** Names ("namespace/name") of what changed, by kind; for EndpointSlices the Services that they belong to. */
export type Dirty = ReadonlyMap<ApiKind, ReadonlySet<string>>

/** Numbers that must survive: compile takes them and gives them back. */
export interface Pools {
  readonly identities: Pool
  readonly servicePorts: Pool
  readonly rules: Pool
}

export function emptyPools(): Pools {
  return {
    identities: emptyPool(firstIdentity),
    servicePorts: emptyPool(1),
    rules: emptyPool(1),
  }
}

export interface Compiled {
  readonly settings: ReadonlyMap<string, Settings>
  readonly nodes: Nodes
  readonly workloads: Workloads
  readonly attachments: Attachments
  readonly services: Services
  readonly policies: Policies
  readonly routes: Routes
  /** What proxies see of services: the declared ones, and where their routes lead. */
  readonly proxyServicePorts: VersionedMap<ServicePort>
  readonly proxyEndpoints: VersionedMap<Endpoint>
  readonly conditions: Conditions
  readonly pools: Pools
}

/**
 * Compiles `snapshot`. `dirty` has the names of what changed since `previous` was compiled; without `previous` everything
 * is compiled.
 */
export function compile(
  snapshot: Snapshot,
  pools: Pools,
  previous?: Compiled,
  dirty: Dirty = new Map(),
): Compiled {
  const touched = (...kinds: readonly ApiKind[]): boolean =>
    kinds.some((kind) => dirty.has(kind))
  const workloads =
    previous === undefined ||
    pools.identities !== previous.pools.identities ||
    touched('Pod', 'Node', 'NetworkPolicy', 'AccessPolicy')
      ? compileWorkloads(snapshot, pools.identities, previous?.workloads, {
          pods: touched('Node') ? undefined : (dirty.get('Pod') ?? new Set()),
          policies: touched('NetworkPolicy', 'AccessPolicy'),
        })
      : previous.workloads
  const attachments =
    previous === undefined ||
    touched(
      'Service',
      'HTTPRoute',
      'GRPCRoute',
      'L7Service',
      'Mesh',
      'XBackendTrafficPolicy',
      'XMesh',
    )
      ? attach(snapshot)
      : previous.attachments
  const services = compileServices(
    snapshot,
    workloads,
    attachments.declarations,
    pools.servicePorts,
    previous?.services,
    previous && concerned(dirty, workloads, attachments, previous),
  )
  const policies =
    previous !== undefined &&
    !policyInputsChanged(workloads, previous.workloads) &&
    !touched('NetworkPolicy', 'AccessPolicy', 'Namespace')
      ? previous.policies
      : compilePolicies(snapshot, workloads, pools.rules, previous?.policies)
  const routes =
    attachments === previous?.attachments && services.pool === previous.services.pool
      ? previous.routes
      : compileRoutes(snapshot, attachments.declarations, services.pool, previous?.routes)
  return {
    settings: keep(compileSettings(snapshot), previous?.settings),
    nodes:
      previous === undefined || touched('Node')
        ? compileNodes(snapshot, previous?.nodes)
        : previous.nodes,
    workloads,
    attachments,
    services,
    policies,
    routes,
    ...proxyServices(services, routes, previous),
    conditions: mergeConditions(snapshot, attachments, services, policies, routes),
    pools: {
      identities: workloads.pool,
      servicePorts: services.pool,
      rules: policies.pool,
    },
  }
}

/** Services that a change may concern: by themselves, their slices, their pods, their declarations. */
function concerned(
  dirty: Dirty,
  workloads: Workloads,
  attachments: Attachments,
  previous: Compiled,
): Set<string> {
  const names = new Set([
    ...(dirty.get('Service') ?? []),
    ...(dirty.get('EndpointSlice') ?? []),
  ])
  if (workloads !== previous.workloads) {
    for (const name of workloads.touched) {
      for (const service of previous.services.users.get(name) ?? []) names.add(service)
    }
  }
  if (attachments !== previous.attachments) {
    const now = attachments.declarations
    const before = previous.attachments.declarations
    for (const port of new Set([...now.keys(), ...before.keys()])) {
      if (now.get(port) !== before.get(port))
        names.add(port.slice(0, port.lastIndexOf(':')))
    }
  }
  return names
}

function policyInputsChanged(now: Workloads, before: Workloads): boolean {
  return now.identities !== before.identities || now.namedPorts !== before.namedPorts
}

function compileSettings(snapshot: Snapshot): Map<string, Settings> {
  const spec = snapshot.Mesh.get('/default')?.spec
  const acceleration = {
    Off: Acceleration.OFF,
    On: Acceleration.ON,
    Auto: Acceleration.AUTO,
  }
  const settings: Settings = {
    acceleration: acceleration[spec?.acceleration ?? 'Auto'],
    traceSampleRatio: spec?.tracing?.sampleRatio ?? 0,
    accessLog: spec?.accessLog ?? false,
    accessLogSample: spec?.accessLogSampleRatio,
    traceCollector: spec?.tracing?.collector ?? '',
    otelMetrics: spec?.otelMetrics ?? false,
  }
  return new Map([['mesh', settings]])
}

type Proxy = Pick<Compiled, 'proxyServicePorts' | 'proxyEndpoints'>

/** What routes and declarations lead to. O(what changed), or O(endpoints of declared services) when routes did. */
function proxyServices(
  services: Services,
  routes: Routes,
  previous: Compiled | undefined,
): Proxy {
  const before: Proxy = {
    proxyServicePorts: previous?.proxyServicePorts ?? VersionedMap.empty(),
    proxyEndpoints: previous?.proxyEndpoints ?? VersionedMap.empty(),
  }
  if (services === previous?.services && routes === previous.routes) return before
  const sameRoutes = routes === previous?.routes
  const names = sameRoutes
    ? [...services.touched].filter((name) => routes.reachable.has(name))
    : new Set([...routes.reachable, ...before.proxyServicePorts.keys()])
  const ports: [string, ServicePort][] = []
  const endpoints: [string, Endpoint][] = []
  const gone = { ports: [] as string[], endpoints: [] as string[] }
  for (const name of names) {
    const port = routes.reachable.has(name) ? services.servicePorts.get(name) : undefined
    const now = port && services.endpointsOf.get(name)
    if (port === undefined) gone.ports.push(name)
    else ports.push([name, port])
    if (now !== undefined) endpoints.push(...now)
    for (const key of previous?.services.endpointsOf.get(name)?.keys() ?? []) {
      if (now?.has(key) !== true) gone.endpoints.push(key)
    }
  }
  return {
    proxyServicePorts: before.proxyServicePorts.with(ports, gone.ports),
    proxyEndpoints: before.proxyEndpoints.with(endpoints, gone.endpoints),
  }
}

/** Who answers behind declared ports. */
function declaredIdentities(
  { declarations }: Attachments,
  { endpointsOf }: Services,
): Set<number> {
  const identities = new Set<number>()
  for (const name of declarations.keys())
    for (const { identity } of endpointsOf.get(name)?.values() ?? [])
      identities.add(identity)
  return identities
}

function mergeConditions(
  snapshot: Snapshot,
  attachments: Attachments,
  services: Services,
  policies: Policies,
  routes: Routes,
): Conditions {
  const out = new Map<string, readonly Condition[]>([
    ...attachments.conditions,
    ...policies.conditions,
  ])
  for (const name of snapshot.Mesh.keys()) out.set(`Mesh/${name}`, [accepted])
  if (policies.aboutRequests.length > 0) {
    const declared = declaredIdentities(attachments, services)
    for (const draft of policies.aboutRequests) {
      const condition = withoutIssuer(draft) ?? notDeclared(draft, declared)
      if (condition !== undefined)
        out.set(draft.key, [...(out.get(draft.key) ?? []), condition])
    }
  }
  for (const [key, condition] of routes.conditions) {
    out.set(key, [...(out.get(key) ?? []), condition])
  }
  return out
}
