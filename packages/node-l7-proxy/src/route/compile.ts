// SPDX-License-Identifier: Apache-2.0
// PURE: RouteTable of the contract -> Table of the request path.
import {
  type Hedging,
  L7Protocol,
  MatchKind,
  type NamedMatch,
  type RetryPolicy,
  type RouteRule,
  type RouteTable,
  type SessionPersistence,
} from '@pillion/contract'
import { statusNumber } from '../grpc/status.ts'
import { compileBackends, compileFilters, noFilters } from './compile-filters.ts'
import { Pattern } from './pattern.ts'
import { indexedFrom, RouteIndex } from './route-index.ts'
import type {
  BudgetRule,
  HedgeRule,
  NamedValue,
  PathMatch,
  RetryRule,
  Rule,
  SessionRule,
  Table,
} from './table.ts'

/** GEP-3388's defaults. */
export const defaultBudget: BudgetRule = {
  percent: 20,
  intervalMs: 10_000,
  minRetries: 10,
  minIntervalMs: 1000,
}

const baseBackoffMs = 25

/** gRFC A6, "Limits on Retries and Hedges". */
const maxHedgedAttempts = 5

/**
 * Without a declaration: twice more, and only what provably never reached an application (no connection, refused stream,
 * or an idempotent request on a connection that died before it answered).
 */
export const defaultRetry: RetryRule = {
  attempts: 2,
  codes: new Set(),
  grpcCodes: new Set(),
  backoffMs: baseBackoffMs,
  perTryTimeoutMs: 0,
  declared: false,
}

/** Throws a TypeError that names the rule when it cannot be expressed; the caller keeps its last good table. */
export function compileTable(name: string, table: RouteTable): Table {
  const retry = compileRetry(table.retry, defaultRetry)
  const hedge =
    table.retry === undefined ? compileHedge(table.traffic?.hedging) : undefined
  const producer: Rule[] = []
  const consumer = new Map<string, Rule[]>()
  for (const source of table.rules) {
    const rule = compileRule(source, table, retry, hedge)
    if (source.consumerNamespace === '') {
      producer.push(rule)
      continue
    }
    const rules = consumer.get(source.consumerNamespace)
    if (rules === undefined) consumer.set(source.consumerNamespace, [rule])
    else rules.push(rule)
  }
  // A consumer's route leaves everybody else with the service's own default.
  const onlyConsumers = producer.length === 0 && consumer.size > 0
  if (!table.hasRoutes || onlyConsumers)
    producer.push(implicitRule(name, table, retry, hedge))
  const budget = table.retryBudget
  return {
    serviceId: table.serviceId,
    producer,
    consumer,
    indexes: indexesOf([producer, ...consumer.values()]),
    budget: budget === undefined ? defaultBudget : { ...defaultBudget, ...budget },
  }
}

function indexesOf(lists: readonly (readonly Rule[])[]): Table['indexes'] {
  const long = lists.filter(({ length }) => length >= indexedFrom)
  return new Map(long.map((rules) => [rules, new RouteIndex(rules)]))
}

/** The table of a service without one: every request goes to the service itself. */
export function implicitTable(name: string, serviceId: number): Table {
  return compileTable(name, {
    serviceId,
    rules: [],
    hasRoutes: false,
    retryBudget: undefined,
    requestTimeoutMs: 0,
    backendTimeoutMs: 0,
    retry: undefined,
    traffic: undefined,
    filters: [],
  })
}

function implicitRule(
  name: string,
  table: RouteTable,
  retry: RetryRule,
  hedge: HedgeRule | undefined,
): Rule {
  return {
    text: 'default',
    routeKind: 'Service',
    routeNamespace: '',
    routeName: name,
    path: { kind: 'any' },
    method: '',
    headers: [],
    query: [],
    filters: noFilters,
    backends: [
      {
        servicePort: name,
        serviceId: table.serviceId,
        cumulativeWeight: 1,
        filters: noFilters,
        protocol: L7Protocol.UNSPECIFIED,
      },
    ],
    totalWeight: 1,
    requestTimeoutMs: table.requestTimeoutMs,
    backendTimeoutMs: table.backendTimeoutMs,
    retry,
    hedge,
    session: undefined,
  }
}

function compileRule(
  rule: RouteRule,
  table: RouteTable,
  retry: RetryRule,
  hedge: HedgeRule | undefined,
): Rule {
  const backends = compileBackends(rule.backends)
  return {
    text: rule.text,
    routeKind: rule.routeKind,
    routeNamespace: rule.routeNamespace,
    routeName: rule.routeName,
    path: compilePath(rule),
    method: rule.match?.method ?? '',
    headers: (rule.match?.headers ?? []).map((match) =>
      compileValue(rule, match, match.name.toLowerCase()),
    ),
    query: (rule.match?.query ?? []).map((match) =>
      compileValue(rule, match, match.name),
    ),
    filters: compileFilters(rule.filters),
    backends,
    totalWeight: backends.at(-1)?.cumulativeWeight ?? 0,
    requestTimeoutMs: rule.requestTimeoutMs || table.requestTimeoutMs,
    backendTimeoutMs: rule.backendTimeoutMs || table.backendTimeoutMs,
    retry: compileRetry(rule.retry, retry),
    // What a route says of its own is about tries one after the other.
    hedge: rule.retry === undefined ? hedge : undefined,
    session: compileSession(rule.session),
  }
}

function compilePath(rule: RouteRule): PathMatch {
  const path = rule.match?.path
  if (path === undefined || path.kind === MatchKind.UNSPECIFIED) return { kind: 'any' }
  if (path.kind === MatchKind.EXACT) return { kind: 'exact', value: path.value }
  if (path.kind === MatchKind.REGULAR_EXPRESSION)
    return { kind: 'regex', pattern: compilePattern(rule, path.value) }
  if (path.kind !== MatchKind.PATH_PREFIX) {
    throw new TypeError(`${rule.text}: path match of unknown kind ${path.kind}`)
  }
  // "/v2/" and "/v2" are the same prefix (HTTPPathMatch).
  return { kind: 'prefix', value: path.value.replace(/\/+$/, '') }
}

function compileValue(rule: RouteRule, match: NamedMatch, name: string): NamedValue {
  const { kind, value } = match
  if (kind === MatchKind.REGULAR_EXPRESSION)
    return { name, value, pattern: compilePattern(rule, value) }
  if (kind !== MatchKind.EXACT && kind !== MatchKind.UNSPECIFIED)
    throw new TypeError(`${rule.text}: match on "${name}" of unknown kind ${kind}`)
  return { name, value, pattern: undefined }
}

function compilePattern(rule: RouteRule, source: string): Pattern {
  try {
    return new Pattern(source)
  } catch (error) {
    throw new TypeError(`${rule.text}: "${source}" is no regular expression`, {
      cause: error,
    })
  }
}

function compileSession(
  session: SessionPersistence | undefined,
): SessionRule | undefined {
  if (session === undefined) return undefined
  return {
    // Header names are compared in lower case, cookies as they are.
    name: session.header ? session.name.toLowerCase() : session.name,
    kind: session.header ? 'header' : 'cookie',
    permanent: session.permanent,
    absoluteSeconds: session.absoluteTimeoutSeconds,
    idleSeconds: session.idleTimeoutSeconds,
  }
}

function compileRetry(policy: RetryPolicy | undefined, fallback: RetryRule): RetryRule {
  if (policy === undefined) return fallback
  return {
    attempts: policy.attempts,
    codes: new Set(policy.codes),
    grpcCodes: new Set(policy.grpcCodes.map(statusNumber)),
    backoffMs: policy.backoffMs || baseBackoffMs,
    perTryTimeoutMs: policy.perTryTimeoutMs,
    declared: true,
  }
}

function compileHedge(hedging: Hedging | undefined): HedgeRule | undefined {
  if (hedging === undefined) return undefined
  return {
    // The bound of gRFC A6, for everybody.
    maxAttempts: Math.min(hedging.maxAttempts, maxHedgedAttempts),
    delayMs: hedging.delayMs,
    codes: new Set(hedging.nonFatalCodes),
    grpcCodes: new Set(hedging.nonFatalGrpcCodes.map(statusNumber)),
  }
}
