// SPDX-License-Identifier: Apache-2.0
// PURE: RouteTable of the contract -> Table of the request path.
import {
  type Backend,
  type Filter,
  type HeaderModifier,
  MatchKind,
  type NamedMatch,
  type PathModifier,
  type RetryPolicy,
  type RouteRule,
  type RouteTable,
} from '@pillion/contract'
import { statusNumber } from '../grpc/status.ts'
import type {
  BackendRef,
  BudgetRule,
  FilterSet,
  HeaderEdit,
  NamedValue,
  PathEdit,
  PathMatch,
  RetryRule,
  Rule,
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

const noFilters: FilterSet = {
  requestHeaders: undefined,
  responseHeaders: undefined,
  redirect: undefined,
  rewrite: undefined,
}

/** Throws a TypeError that names the rule when it cannot be expressed; the caller keeps its last good table. */
export function compileTable(name: string, table: RouteTable): Table {
  const retry = compileRetry(table.retry, defaultRetry)
  const producer: Rule[] = []
  const consumer = new Map<string, Rule[]>()
  for (const source of table.rules) {
    const rule = compileRule(source, table, retry)
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
  if (!table.hasRoutes || onlyConsumers) producer.push(implicitRule(name, table, retry))
  const budget = table.retryBudget
  return {
    serviceId: table.serviceId,
    producer,
    consumer,
    budget: budget === undefined ? defaultBudget : { ...defaultBudget, ...budget },
  }
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
  })
}

function implicitRule(name: string, table: RouteTable, retry: RetryRule): Rule {
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
      },
    ],
    totalWeight: 1,
    requestTimeoutMs: table.requestTimeoutMs,
    backendTimeoutMs: table.backendTimeoutMs,
    retry,
  }
}

function compileRule(rule: RouteRule, table: RouteTable, retry: RetryRule): Rule {
  const backends = compileBackends(rule)
  return {
    text: rule.text,
    routeKind: rule.routeKind,
    routeNamespace: rule.routeNamespace,
    routeName: rule.routeName,
    path: compilePath(rule),
    method: rule.match?.method ?? '',
    headers: (rule.match?.headers ?? []).map((match) =>
      exact(rule, match, match.name.toLowerCase()),
    ),
    query: (rule.match?.query ?? []).map((match) => exact(rule, match, match.name)),
    filters: compileFilters(rule.filters),
    backends,
    totalWeight: backends.at(-1)?.cumulativeWeight ?? 0,
    requestTimeoutMs: rule.requestTimeoutMs || table.requestTimeoutMs,
    backendTimeoutMs: rule.backendTimeoutMs || table.backendTimeoutMs,
    retry: compileRetry(rule.retry, retry),
  }
}

function compilePath(rule: RouteRule): PathMatch {
  const path = rule.match?.path
  if (path === undefined || path.kind === MatchKind.UNSPECIFIED) return { kind: 'any' }
  if (path.kind === MatchKind.EXACT) return { kind: 'exact', value: path.value }
  if (path.kind !== MatchKind.PATH_PREFIX) {
    throw new TypeError(`${rule.text}: path match of unknown kind ${path.kind}`)
  }
  // "/v2/" and "/v2" are the same prefix (HTTPPathMatch).
  return { kind: 'prefix', value: path.value.replace(/\/+$/, '') }
}

function exact(rule: RouteRule, match: NamedMatch, name: string): NamedValue {
  if (match.kind !== MatchKind.EXACT && match.kind !== MatchKind.UNSPECIFIED) {
    throw new TypeError(`${rule.text}: match on "${name}" of unknown kind ${match.kind}`)
  }
  return { name, value: match.value }
}

function compileBackends(rule: RouteRule): BackendRef[] {
  let cumulativeWeight = 0
  return rule.backends
    .filter((backend: Backend) => backend.weight > 0)
    .map((backend) => ({
      servicePort: backend.servicePort === '' ? undefined : backend.servicePort,
      serviceId: backend.serviceId,
      cumulativeWeight: (cumulativeWeight += backend.weight),
      filters: compileFilters(backend.filters),
    }))
}

function compileFilters(filters: readonly Filter[]): FilterSet {
  if (filters.length === 0) return noFilters
  const set: { -readonly [K in keyof FilterSet]: FilterSet[K] } = { ...noFilters }
  for (const { body } of filters) {
    switch (body?.$case) {
      case 'requestHeaders':
        set.requestHeaders = compileEdit(body.value)
        break
      case 'responseHeaders':
        set.responseHeaders = compileEdit(body.value)
        break
      case 'redirect':
        set.redirect = {
          scheme: body.value.scheme || undefined,
          hostname: body.value.hostname || undefined,
          port: body.value.port || undefined,
          path: compilePathEdit(body.value.path),
          status: body.value.status || 302,
        }
        break
      case 'rewrite':
        set.rewrite = {
          hostname: body.value.hostname || undefined,
          path: compilePathEdit(body.value.path),
        }
        break
      case undefined:
        throw new TypeError('a filter of a kind that this proxy does not know')
    }
  }
  return set
}

function compileEdit(edit: HeaderModifier): HeaderEdit {
  const pairs = (list: HeaderModifier['set']): [string, string][] =>
    list.map(({ name, value }) => [name.toLowerCase(), value])
  return {
    set: pairs(edit.set),
    add: pairs(edit.add),
    remove: edit.remove.map((name) => name.toLowerCase()),
  }
}

function compilePathEdit(path: PathModifier | undefined): PathEdit | undefined {
  if (path?.full !== undefined) return { kind: 'full', value: path.full }
  if (path?.prefix !== undefined) return { kind: 'prefix', value: path.prefix }
  return undefined
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
