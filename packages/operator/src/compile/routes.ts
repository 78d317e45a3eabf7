// SPDX-License-Identifier: Apache-2.0
// PURE: the route tables of declared ServicePorts, sorted by the precedence of the Gateway API. O(routes), whenever a route,
// an L7Service or the set of Services changed.
import { type RouteRule, type RouteTable, keep } from '@pillion/contract'
import { type ApiObject, keyOf } from '../api/object.ts'
import type { RouteRetry } from '../api/route.ts'
import type { SessionPersistence } from '../api/session.ts'
import type { Retries } from '../api/mesh.ts'
import type { Snapshot } from '../index/objects.ts'
import type { Declaration } from './attach.ts'
import { byAge, type Route } from './parents.ts'
import { Backends } from './backends.ts'
import type { Condition } from './condition.ts'
import {
  anyGrpc,
  anyHttp,
  type GrpcMatch,
  grpcMatch,
  type HttpMatch,
  httpMatch,
  precedence,
} from './matches.ts'
import { limitServiceOf } from './limit-service.ts'
import { numberOf, type Pool } from './pool.ts'
import { compileServiceFilters } from './service-filters.ts'
import { compileTraffic } from './traffic.ts'

export interface Routes {
  readonly tables: ReadonlyMap<string, RouteTable>
  /** ServicePorts that a proxy has to know: declared ones, where their routes lead, and rate limit services. */
  readonly reachable: ReadonlySet<string>
  /** ResolvedRefs of every route that applies somewhere, and of every L7Service that refers to a rate limit service. */
  readonly conditions: ReadonlyMap<string, Condition>
}

/** "No timeout", said in a rule, where 0 would mean "as the L7Service says": the longest that a timer can wait. */
const disabledMs = 2_147_483_647

/** GEP-1731 leaves the number open when a rule asks for retries without one. */
const defaultAttempts = 1

interface Sortable {
  readonly rule: RouteRule
  /** Compared one after the other, the greater first: see `precedence`. */
  readonly rank: readonly number[]
}

export function compileRoutes(
  snapshot: Snapshot,
  declarations: ReadonlyMap<string, Declaration>,
  ids: Pool,
  previous: Routes | undefined,
): Routes {
  const refs = new Backends(snapshot, ids)
  const compiled = new Map<Route, Sortable[]>()
  const rulesOf = (route: Route, declaration: Declaration): Sortable[] => {
    // The same for every port, but for what the L7Service of the port says about disabled timeouts.
    if (declaration.l7Service !== undefined) return routeRules(route, declaration, refs)
    const known = compiled.get(route) ?? routeRules(route, declaration, refs)
    compiled.set(route, known)
    return known
  }
  const tables = new Map<string, RouteTable>()
  const reachable = new Set<string>(declarations.keys())
  const limitConditions = new Map<string, Condition>()
  for (const [name, declaration] of declarations) {
    const serviceId = numberOf(ids, name)
    // Oldest first; the sort by precedence is stable and keeps this order among equals.
    const producers = [...declaration.producers].sort(byAge)
    const consumers = [...declaration.consumers].sort(byAge)
    const rules = [
      ...sorted(producers.flatMap((route) => rulesOf(route, declaration))),
      ...sorted(
        consumers.flatMap((route) =>
          rulesOf(route, declaration).map(({ rule, rank }) => ({
            rank,
            rule: { ...rule, consumerNamespace: route.metadata.namespace },
          })),
        ),
      ),
    ]
    const hasRoutes = producers.length + consumers.length > 0
    const { l7Service } = declaration
    const limit = l7Service && limitServiceOf(snapshot, l7Service)
    if (limit !== undefined && l7Service !== undefined)
      limitConditions.set(keyOf(l7Service), limit.condition)
    if (!hasRoutes && !hasDefaults(declaration)) continue
    const limitPort = limit?.servicePort ?? ''
    tables.set(name, {
      serviceId,
      rules,
      hasRoutes,
      ...defaults(declaration, limitPort),
    })
    if (limitPort !== '') reachable.add(limitPort)
    for (const servicePort of rules.flatMap(destinations)) {
      if (servicePort !== '') reachable.add(servicePort)
    }
  }
  return {
    tables: keep(tables, previous?.tables),
    reachable,
    conditions: new Map([...refs.conditions(), ...limitConditions]),
  }
}

/** Where a rule leads, copies included. */
function destinations({ backends, filters }: RouteRule): string[] {
  const lists = [filters, ...backends.map((backend) => backend.filters)]
  const mirrors = lists
    .flat()
    .flatMap(({ body }) => (body?.$case === 'mirror' ? [body.value.backend] : []))
  return [...backends, ...mirrors].map((backend) => backend?.servicePort ?? '')
}

function hasDefaults({ l7Service, retryConstraint }: Declaration): boolean {
  const spec = l7Service?.spec
  const own = spec?.timeouts ?? spec?.retries ?? spec?.retryBudget ?? spec?.filters[0]
  return (own ?? retryConstraint ?? (spec && compileTraffic(spec, ''))) !== undefined
}

/** The L7Service is about this mesh and this port, so it says more than the standard's policy for the whole Service. */
function budgetOf({
  l7Service,
  retryConstraint,
}: Declaration): RouteTable['retryBudget'] {
  const own = l7Service?.spec.retryBudget
  const budget = own ?? retryConstraint?.budget
  if (budget === undefined) return undefined
  const rate = own === undefined ? retryConstraint?.minRetryRate : own.minRetryRate
  return {
    percent: budget.percent,
    intervalMs: budget.interval,
    minRetries: rate?.count ?? 10,
    minIntervalMs: rate?.interval ?? 1000,
  }
}

function defaults(
  declaration: Declaration,
  limitPort: string,
): Omit<RouteTable, 'serviceId' | 'rules' | 'hasRoutes'> {
  const spec = declaration.l7Service?.spec
  const { timeouts, retries } = spec ?? {}
  return {
    retryBudget: budgetOf(declaration),
    requestTimeoutMs: timeouts?.request ?? 0,
    backendTimeoutMs: timeouts?.backendRequest ?? 0,
    retry: retries && serviceRetry(retries),
    traffic: spec && compileTraffic(spec, limitPort),
    filters: compileServiceFilters(spec?.filters ?? []),
  }
}

function serviceRetry(retries: Retries): NonNullable<RouteTable['retry']> {
  return {
    attempts: retries.attempts,
    codes: retries.codes,
    grpcCodes: retries.grpcCodes,
    backoffMs: retries.backoff ?? 0,
    perTryTimeoutMs: retries.perTryTimeout ?? 0,
  }
}

function routeRetry(retry: RouteRetry): NonNullable<RouteRule['retry']> {
  return {
    attempts: retry.attempts ?? defaultAttempts,
    codes: retry.codes,
    grpcCodes: [],
    backoffMs: retry.backoff ?? 0,
    perTryTimeoutMs: 0,
  }
}

type HttpRule = ApiObject<'HTTPRoute'>['spec']['rules'][number]

function routeRules(route: Route, declaration: Declaration, refs: Backends): Sortable[] {
  return route.spec.rules.flatMap((rule, i) => {
    const { namespace, name } = route.metadata
    const common = {
      text: `${route.kind} ${namespace}/${name} rule ${rule.name ?? i}`,
      routeKind: route.kind,
      routeNamespace: namespace,
      routeName: name,
      consumerNamespace: '',
      filters: refs.filters(route, rule.filters, `spec.rules[${i}]`),
      backends: refs.of(route, rule, i),
      session: rule.sessionPersistence && session(route, rule.sessionPersistence, i),
      ...limits(route.kind === 'HTTPRoute' ? (rule as HttpRule) : undefined, declaration),
    }
    const matches =
      route.kind === 'GRPCRoute'
        ? (rule.matches as GrpcMatch[]).map(grpcMatch)
        : (rule.matches as HttpMatch[]).map(httpMatch)
    const all =
      matches.length > 0
        ? matches
        : [route.kind === 'GRPCRoute' ? grpcMatch(anyGrpc) : httpMatch(anyHttp)]
    return all.map(({ match, rank }) => ({ rank, rule: { ...common, match } }))
  })
}

/** Rules without a name for their session get one of their own: two rules must not overwrite each other's token. */
function session(
  { metadata: { namespace, name } }: Route,
  persistence: SessionPersistence,
  index: number,
): NonNullable<RouteRule['session']> {
  const { sessionName, type, cookieConfig, absoluteTimeout, idleTimeout } = persistence
  const seconds = (ms: number | null | undefined): number => Math.ceil((ms ?? 0) / 1000)
  return {
    name: sessionName ?? `pillion-${namespace}-${name}-${index}`,
    header: type === 'Header',
    permanent: cookieConfig?.lifetimeType === 'Permanent',
    absoluteTimeoutSeconds: seconds(absoluteTimeout),
    idleTimeoutSeconds: seconds(idleTimeout),
  }
}

function limits(
  rule: HttpRule | undefined,
  { l7Service }: Declaration,
): Pick<RouteRule, 'requestTimeoutMs' | 'backendTimeoutMs' | 'retry'> {
  const service = l7Service?.spec.timeouts
  const ms = (own: number | undefined, inherited: number | undefined): number =>
    own === 0 && (inherited ?? 0) > 0 ? disabledMs : (own ?? 0)
  return {
    requestTimeoutMs: ms(rule?.timeouts?.request, service?.request),
    backendTimeoutMs: ms(rule?.timeouts?.backendRequest, service?.backendRequest),
    retry: rule?.retry && routeRetry(rule.retry),
  }
}

function sorted(rules: readonly Sortable[]): RouteRule[] {
  return [...rules].sort((a, b) => precedence(a.rank, b.rank)).map(({ rule }) => rule)
}
