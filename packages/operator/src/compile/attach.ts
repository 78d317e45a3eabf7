// SPDX-License-Identifier: Apache-2.0
// PURE: which routes and L7Services apply to which port of which Service, and which of them lose (GEP-1294).
import { FailureMode, L7Protocol } from '@pillion/contract'
import { describeKey, keyOf, type ApiObject } from '../api/object.ts'
import type { ParentRef } from '../api/route.ts'
import type { Snapshot } from '../index/objects.ts'
import { accepted, refused, type Condition } from './condition.ts'
import {
  appProtocols,
  byAge,
  servicePortName,
  type Port,
  type Route,
  type Service,
} from './parents.ts'
import { compileTrafficPolicies, type RetryConstraint } from './traffic-policies.ts'
import { unsupported } from './unsupported.ts'
import { missingService, noPort } from './wording.ts'

/** What is declared for a ServicePort. */
export interface Declaration {
  readonly protocol: L7Protocol
  readonly failureMode: FailureMode
  readonly l7Service: ApiObject<'L7Service'> | undefined
  /** Of the whole Service (GEP-3388). */
  readonly retryConstraint: RetryConstraint | undefined
  /** Routes of the Service's own namespace: for every client. */
  readonly producers: readonly Route[]
  /** Routes of other namespaces: for clients of the route's namespace. */
  readonly consumers: readonly Route[]
}

/** How a route stands to one of its parentRefs that are Services. */
export interface ParentCondition {
  readonly parentRef: ParentRef
  readonly accepted: Condition
}

export interface Attachments {
  /** By ServicePort name; only ports that are declared. */
  readonly declarations: ReadonlyMap<string, Declaration>
  /** By the key of the route, in the order of its parentRefs. */
  readonly parents: ReadonlyMap<string, readonly ParentCondition[]>
  readonly conditions: ReadonlyMap<string, readonly Condition[]>
}

/** What becomes of a parentRef: the ports that it means, and why it does not apply, if it does not. */
interface Parent {
  readonly parentRef: ParentRef
  /** "spec.parentRefs[0]". */
  readonly at: string
  readonly targets: ReadonlySet<string>
  refusal: Condition | undefined
}

interface Target {
  readonly name: string
  readonly service: Service
  readonly port: Port
}

export function attach(snapshot: Snapshot): Attachments {
  const policies = compileTrafficPolicies(snapshot)
  const conditions = new Map<string, Condition[]>()
  const routes = new Map<string, { target: Target; routes: Route[] }>()
  const parentsOf = new Map<Route, Parent[]>()
  for (const route of [...snapshot.HTTPRoute.values(), ...snapshot.GRPCRoute.values()]) {
    const refs = route.spec.parentRefs.flatMap((parentRef, i) =>
      isService(parentRef) ? [{ parentRef, at: `spec.parentRefs[${i}]` }] : [],
    )
    if (refs.length === 0) continue
    const reasons = unsupported(route)
    const whole =
      reasons.length > 0 ? refused('UnsupportedValue', reasons.join('; ')) : undefined
    const parents = refs.map(({ parentRef, at }): Parent => {
      const targets = whole === undefined ? targetsOf(snapshot, route, parentRef) : []
      if (typeof targets === 'string') {
        const refusal = refused('NoMatchingParent', `${at}: ${targets}`)
        return { parentRef, at, targets: new Set(), refusal }
      }
      for (const target of targets) addRoute(routes, target, route)
      const names = new Set(targets.map(({ name }) => name))
      return { parentRef, at, targets: names, refusal: whole }
    })
    parentsOf.set(route, parents)
  }
  const l7Services = declared(snapshot, conditions)
  const declarations = new Map<string, Declaration>()
  const names = new Set([...routes.keys(), ...l7Services.keys()])
  for (const name of names) {
    const attached = routes.get(name)
    const winners = attached === undefined ? [] : resolve(attached, parentsOf)
    const l7Service = l7Services.get(name)
    const [first] = winners
    if (first === undefined && l7Service === undefined) continue
    const namespace = name.slice(0, name.indexOf('/'))
    declarations.set(name, {
      protocol: l7Service
        ? protocols[l7Service.spec.protocol]
        : impliedProtocol(first, attached?.target.port),
      failureMode: failureModeOf(snapshot, l7Service),
      l7Service,
      retryConstraint: policies.retryConstraints.get(
        name.slice(0, name.lastIndexOf(':')),
      ),
      producers: winners.filter((route) => route.metadata.namespace === namespace),
      consumers: winners.filter((route) => route.metadata.namespace !== namespace),
    })
  }
  const parents = new Map<string, ParentCondition[]>()
  for (const [route, each] of parentsOf) {
    const key = keyOf(route)
    // The route as a whole is in force when every parentRef is.
    const refusal = each.find((parent) => parent.refusal !== undefined)?.refusal
    conditions.set(key, [refusal ?? accepted])
    parents.set(
      key,
      each.map((parent) => ({
        parentRef: parent.parentRef,
        accepted: parent.refusal ?? accepted,
      })),
    )
  }
  for (const [key, verdict] of policies.conditions) conditions.set(key, [...verdict])
  return { declarations, parents, conditions }
}

function isService({ group, kind }: ParentRef): boolean {
  return (group === '' || group === 'core') && kind === 'Service'
}

/** The ports that a parentRef means, or why there is none. */
function targetsOf(
  snapshot: Snapshot,
  route: Route,
  parent: ParentRef,
): Target[] | string {
  const name = `${parent.namespace ?? route.metadata.namespace}/${parent.name}`
  const service = snapshot.Service.get(name)
  if (service === undefined) return missingService(name)
  if (service.spec.type === 'ExternalName')
    return `Service ${name} is of type ExternalName: it has no address to route for`
  if (service.spec.clusterIP === 'None')
    return `Service ${name} is headless: it has no address to route for`
  const port = parent.port ?? undefined
  const section = parent.sectionName ?? undefined
  const found = service.spec.ports.filter(
    (candidate) =>
      candidate.protocol === 'TCP' &&
      (port === undefined || candidate.port === port) &&
      (section === undefined || candidate.name === section) &&
      // Without a port the route is for all ports, but never for one that says that it is no HTTP.
      (port !== undefined ||
        section !== undefined ||
        appProtocols.has(candidate.appProtocol ?? 'http')),
  )
  if (found.length === 0) return noPort(service, port ?? section ?? 'for HTTP or gRPC')
  return found.map((candidate) => ({
    name: servicePortName(service, candidate),
    service,
    port: candidate,
  }))
}

function addRoute(
  routes: Map<string, { target: Target; routes: Route[] }>,
  target: Target,
  route: Route,
): void {
  const entry = routes.get(target.name)
  if (entry === undefined) routes.set(target.name, { target, routes: [route] })
  else if (!entry.routes.includes(route)) entry.routes.push(route)
}

/**
 * The routes of a port that apply: GRPCRoute before HTTPRoute. The Service's own namespace decides first, so that a consumer's
 * route cannot put the owner's out of force.
 */
function resolve(
  { target, routes }: { target: Target; routes: readonly Route[] },
  parentsOf: ReadonlyMap<Route, readonly Parent[]>,
): Route[] {
  const own = routes.filter(
    (route) => route.metadata.namespace === target.service.metadata.namespace,
  )
  const deciding = own.length > 0 ? own : routes
  const first = deciding.find((route) => route.kind === 'GRPCRoute') ?? deciding[0]
  const kind = first?.kind ?? 'HTTPRoute'
  for (const route of routes) {
    if (route.kind === kind) continue
    const winner = first && describeKey(keyOf(first))
    const message = `${target.name} has ${winner}; a port has routes of one kind: use another port, or delete one of them`
    for (const parent of parentsOf.get(route) ?? []) {
      if (parent.targets.has(target.name))
        parent.refusal ??= refused('Conflicted', `${parent.at}: ${message}`)
    }
  }
  return routes.filter((route) => route.kind === kind)
}

const protocols = {
  http: L7Protocol.HTTP,
  http2: L7Protocol.HTTP2,
  grpc: L7Protocol.GRPC,
} as const

function impliedProtocol(route: Route | undefined, port: Port | undefined): L7Protocol {
  if (route?.kind === 'GRPCRoute') return L7Protocol.GRPC
  return appProtocols.get(port?.appProtocol ?? 'http') ?? L7Protocol.HTTP
}

/** L7Services by ServicePort name: one that names the port before one that names all; then the older one, then by name. */
function declared(
  snapshot: Snapshot,
  conditions: Map<string, Condition[]>,
): Map<string, ApiObject<'L7Service'>> {
  const out = new Map<string, ApiObject<'L7Service'>>()
  const sorted = [...snapshot.L7Service.values()].sort(
    (a, b) =>
      Number(a.spec.targetRef.port === undefined) -
        Number(b.spec.targetRef.port === undefined) || byAge(a, b),
  )
  for (const l7Service of sorted) {
    const { name, port } = l7Service.spec.targetRef
    const key = keyOf(l7Service)
    const service = snapshot.Service.get(`${l7Service.metadata.namespace}/${name}`)
    const ports = (service?.spec.ports ?? []).filter(
      (candidate) =>
        candidate.protocol === 'TCP' && (port === undefined || candidate.port === port),
    )
    if (service === undefined || ports.length === 0) {
      const what =
        service === undefined
          ? missingService(`${l7Service.metadata.namespace}/${name}`)
          : noPort(service, port ?? '')
      conditions.set(key, [refused('TargetNotFound', `spec.targetRef: ${what}`)])
      continue
    }
    const names = ports.map((each) => servicePortName(service, each))
    const mine = names.filter((each) => !out.has(each))
    if (mine.length === 0) {
      const winners = new Set(names.map((each) => out.get(each)?.metadata.name))
      const others = [...winners].join(', ')
      const message = `spec.targetRef: every port of it is declared by L7Service ${others}; delete one, or let each name its own port`
      conditions.set(key, [refused('Conflicted', message)])
      continue
    }
    for (const each of mine) out.set(each, l7Service)
    conditions.set(key, [accepted])
  }
  return out
}

function failureModeOf(
  snapshot: Snapshot,
  l7Service: ApiObject<'L7Service'> | undefined,
): FailureMode {
  const mode =
    l7Service?.spec.failureMode ??
    snapshot.Mesh.get('/default')?.spec.failureMode ??
    'Bypass'
  return mode === 'Reject' ? FailureMode.REJECT : FailureMode.BYPASS
}
