// SPDX-License-Identifier: Apache-2.0
// PURE: objects to the resources of all nodes. A part is compiled again only when one of its inputs changed; every part keeps
// the values that stayed equal, so that everything after compares by identity.
import {
  Acceleration,
  firstIdentity,
  type Endpoint,
  type ServicePort,
  type Settings,
} from '@pillion/contract'
import type { ApiKind } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { attach, type Attachments } from './attach.ts'
import type { Condition, Conditions } from './condition.ts'
import { accepted } from './condition.ts'
import { emptyPool, type Pool } from './pool.ts'
import { compilePolicies, type Policies } from './policies.ts'
import { compileRoutes, type Routes } from './routes.ts'
import { keep } from './same.ts'
import { compileServices, type Services } from './services.ts'
import { compileWorkloads, type Workloads } from './workloads.ts'

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
  readonly workloads: Workloads
  readonly attachments: Attachments
  readonly services: Services
  readonly policies: Policies
  readonly routes: Routes
  /** What proxies see of services: the declared ones, and where their routes lead. */
  readonly proxyServicePorts: ReadonlyMap<string, ServicePort>
  readonly proxyEndpoints: ReadonlyMap<string, Endpoint>
  readonly conditions: Conditions
  readonly pools: Pools
}

/**
 * Compiles `snapshot`. `dirty` names the kinds of which something changed since `previous` was compiled; without `previous`
 * everything is compiled.
 */
export function compile(
  snapshot: Snapshot,
  pools: Pools,
  previous?: Compiled,
  dirty: ReadonlySet<ApiKind> = new Set(),
): Compiled {
  const touched = (...kinds: readonly ApiKind[]): boolean =>
    kinds.some((kind) => dirty.has(kind))
  const workloads =
    previous === undefined || touched('Pod', 'Node', 'NetworkPolicy', 'AccessPolicy')
      ? compileWorkloads(snapshot, pools.identities, previous?.workloads)
      : previous.workloads
  const attachments =
    previous === undefined ||
    touched('Service', 'HTTPRoute', 'GRPCRoute', 'L7Service', 'Mesh')
      ? attach(snapshot)
      : previous.attachments
  const services =
    workloads === previous?.workloads &&
    attachments === previous.attachments &&
    !touched('EndpointSlice')
      ? previous.services
      : compileServices(
          snapshot,
          workloads,
          attachments.declarations,
          pools.servicePorts,
          previous?.services,
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
  const sameProxy = services === previous?.services && routes === previous.routes
  return {
    settings: keep(compileSettings(snapshot), previous?.settings),
    workloads,
    attachments,
    services,
    policies,
    routes,
    ...(sameProxy ? proxyOf(previous) : proxyServices(services, routes, previous)),
    conditions: mergeConditions(snapshot, attachments, policies, routes),
    pools: {
      identities: workloads.pool,
      servicePorts: services.pool,
      rules: policies.pool,
    },
  }
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
  }
  return new Map([['mesh', settings]])
}

type Proxy = Pick<Compiled, 'proxyServicePorts' | 'proxyEndpoints'>

function proxyOf({ proxyServicePorts, proxyEndpoints }: Proxy): Proxy {
  return { proxyServicePorts, proxyEndpoints }
}

/** O(endpoints of declared services) when one of them changed. */
function proxyServices(
  services: Services,
  routes: Routes,
  previous: Compiled | undefined,
): Proxy {
  const ports = new Map<string, ServicePort>()
  const endpoints = new Map<string, Endpoint>()
  for (const name of routes.reachable) {
    const port = services.servicePorts.get(name)
    if (port !== undefined) ports.set(name, port)
    for (const [key, endpoint] of services.endpointsOf.get(name) ?? [])
      endpoints.set(key, endpoint)
  }
  return {
    proxyServicePorts: keep(ports, previous?.proxyServicePorts),
    proxyEndpoints: keep(endpoints, previous?.proxyEndpoints),
  }
}

function mergeConditions(
  snapshot: Snapshot,
  attachments: Attachments,
  policies: Policies,
  routes: Routes,
): Conditions {
  const out = new Map<string, readonly Condition[]>([
    ...attachments.conditions,
    ...policies.conditions,
  ])
  for (const name of snapshot.Mesh.keys()) out.set(`Mesh/${name}`, [accepted])
  for (const [key, condition] of routes.conditions) {
    out.set(key, [...(out.get(key) ?? []), condition])
  }
  return out
}
