// SPDX-License-Identifier: Apache-2.0
// PURE: the route tables of declared ServicePorts, sorted by the precedence of the Gateway API. O(routes), whenever a route,
// an L7Service or the set of Services changed.
import {
  MatchKind,
  type NamedMatch,
  type RouteMatch,
  type RouteRule,
  type RouteTable,
  keep,
} from '@pillion/contract'
import type { ApiObject } from '../api/object.ts'
import type { RouteRetry } from '../api/route.ts'
import type { Retries } from '../api/mesh.ts'
import type { Snapshot } from '../index/objects.ts'
import { byAge, type Declaration, type Route } from './attach.ts'
import { Backends } from './backends.ts'
import type { Condition } from './condition.ts'
import { compileFilters } from './filters.ts'
import { numberOf, type Pool } from './pool.ts'

export interface Routes {
  readonly tables: ReadonlyMap<string, RouteTable>
  /** ServicePorts that a proxy has to know: declared ones, and where their routes lead. */
  readonly reachable: ReadonlySet<string>
  /** ResolvedRefs of every route that applies somewhere. */
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
    if (!hasRoutes && !hasDefaults(declaration)) continue
    tables.set(name, { serviceId, rules, hasRoutes, ...defaults(declaration) })
    for (const { backends } of rules) {
      for (const { servicePort } of backends)
        if (servicePort !== '') reachable.add(servicePort)
    }
  }
  return {
    tables: keep(tables, previous?.tables),
    reachable,
    conditions: refs.conditions(),
  }
}

function hasDefaults({ l7Service, retryConstraint }: Declaration): boolean {
  const spec = l7Service?.spec
  const own = spec?.timeouts ?? spec?.retries ?? spec?.retryBudget
  return (own ?? retryConstraint) !== undefined
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
): Pick<RouteTable, 'retryBudget' | 'requestTimeoutMs' | 'backendTimeoutMs' | 'retry'> {
  const { timeouts, retries } = declaration.l7Service?.spec ?? {}
  return {
    retryBudget: budgetOf(declaration),
    requestTimeoutMs: timeouts?.request ?? 0,
    backendTimeoutMs: timeouts?.backendRequest ?? 0,
    retry: retries && serviceRetry(retries),
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
type HttpMatch = HttpRule['matches'][number]
type GrpcMatch = ApiObject<'GRPCRoute'>['spec']['rules'][number]['matches'][number]

function routeRules(route: Route, declaration: Declaration, refs: Backends): Sortable[] {
  return route.spec.rules.flatMap((rule, i) => {
    const { namespace, name } = route.metadata
    const common = {
      text: `${route.kind} ${namespace}/${name} rule ${rule.name ?? i}`,
      routeKind: route.kind,
      routeNamespace: namespace,
      routeName: name,
      consumerNamespace: '',
      filters: compileFilters(rule.filters),
      backends: refs.of(route, rule, i),
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

const anyHttp: HttpMatch = {
  path: { type: 'PathPrefix', value: '/' },
  headers: [],
  queryParams: [],
}
const anyGrpc: GrpcMatch = { headers: [] }

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

interface Match {
  readonly match: RouteMatch
  readonly rank: readonly number[]
}

/** Exact path, then the longest prefix, then method, then the number of headers, then of query parameters. */
function httpMatch({ path, headers, queryParams, method }: HttpMatch): Match {
  const exact = path.type === 'Exact'
  // "/v2/" and "/v2" are the same prefix.
  const value = exact ? path.value : path.value.replace(/\/+$/, '') || '/'
  const kind = exact ? MatchKind.EXACT : MatchKind.PATH_PREFIX
  const names = values(headers, (name) => name.toLowerCase())
  const query = values(queryParams, (name) => name)
  return {
    match: { path: { kind, value }, method: method ?? '', headers: names, query },
    rank: [
      Number(exact),
      value.length,
      Number(method !== undefined),
      names.length,
      query.length,
    ],
  }
}

/** Characters of the service, then of the method, then the number of headers. */
function grpcMatch({ method, headers }: GrpcMatch): Match {
  const names = values(headers, (name) => name.toLowerCase())
  const service = method?.service ?? ''
  const call = method?.method ?? ''
  const path =
    call !== ''
      ? { kind: MatchKind.EXACT, value: `/${service}/${call}` }
      : { kind: MatchKind.PATH_PREFIX, value: `/${service}` }
  return {
    match: { path, method: '', headers: names, query: [] },
    rank: [service.length, call.length, names.length],
  }
}

/** Of several matches of one name only the first counts (HTTPHeaderMatch, HTTPQueryParamMatch). */
function values(
  matches: readonly { name: string; value: string }[],
  spell: (name: string) => string,
): NamedMatch[] {
  const out = new Map<string, NamedMatch>()
  for (const { name, value } of matches) {
    const spelled = spell(name)
    if (!out.has(spelled))
      out.set(spelled, { name: spelled, kind: MatchKind.EXACT, value })
  }
  return [...out.values()]
}

function sorted(rules: readonly Sortable[]): RouteRule[] {
  return [...rules].sort(precedence).map(({ rule }) => rule)
}

function precedence(a: Sortable, b: Sortable): number {
  for (const [i, rank] of a.rank.entries()) {
    const difference = (b.rank[i] ?? 0) - rank
    if (difference !== 0) return difference
  }
  return 0
}
