// SPDX-License-Identifier: Apache-2.0
// PURE: which rule a request falls under, and which backend takes it.
import type {
  BackendRef,
  NamedValue,
  PathMatch,
  RouteRequest,
  Rule,
  Table,
} from './table.ts'

/** The first rule that matches, or undefined: 404 (GEP-1294). A consumer's rules replace the producer's. */
export function matchRule(
  table: Table,
  clientNamespace: string,
  request: RouteRequest,
): Rule | undefined {
  const rules =
    table.consumer.size === 0
      ? table.producer
      : (table.consumer.get(clientNamespace) ?? table.producer)
  const index = table.indexes.get(rules)
  return index === undefined ? firstMatch(rules, request) : index.find(request)
}

/** The first of the list; what an index of it must agree with. */
export function firstMatch(
  rules: readonly Rule[],
  request: RouteRequest,
): Rule | undefined {
  for (const rule of rules) {
    if (matchesPath(rule.path, request.path) && matchesBeyondPath(rule, request))
      return rule
  }
  return undefined
}

/** `random` is in [0, 1). Undefined: the rule has no backend with a weight. */
export function pickBackend(rule: Rule, random: number): BackendRef | undefined {
  const { backends } = rule
  if (backends.length === 1) return backends[0]
  const point = random * rule.totalWeight
  for (const backend of backends) {
    if (point < backend.cumulativeWeight) return backend
  }
  return undefined
}

/** Method, headers and query. */
export function matchesBeyondPath(rule: Rule, request: RouteRequest): boolean {
  return (
    (rule.method === '' || rule.method === request.method) &&
    (rule.headers.length === 0 ||
      rule.headers.every((want) => hasHeader(request, want))) &&
    (rule.query.length === 0 || matchesQuery(rule.query, request.path))
  )
}

/** `path` is path and query. */
export function matchesPath(match: PathMatch, path: string): boolean {
  if (match.kind === 'any') return true
  if (match.kind === 'regex') return match.pattern.matches(withoutQuery(path))
  const { value } = match
  if (!path.startsWith(value)) return false
  const next = path.charCodeAt(value.length) // NaN at the end
  const ends = Number.isNaN(next) || next === 0x3f // ?
  return match.kind === 'exact' ? ends : ends || next === 0x2f // /
}

function hasHeader(request: RouteRequest, want: NamedValue): boolean {
  if (want.name === 'host') return isValue(want, request.authority)
  const { headers } = request
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === want.name && isValue(want, headers[i + 1] ?? '')) return true
  }
  return false
}

function isValue({ value, pattern }: NamedValue, text: string): boolean {
  return pattern === undefined ? text === value : pattern.matches(text)
}

function withoutQuery(path: string): string {
  const question = path.indexOf('?')
  return question < 0 ? path : path.slice(0, question)
}

/** The first value of a repeated parameter counts, as HTTPQueryParamMatch recommends. */
function matchesQuery(wanted: readonly NamedValue[], path: string): boolean {
  const question = path.indexOf('?')
  if (question < 0) return false
  const values = new Map<string, string>()
  for (const pair of path.slice(question + 1).split('&')) {
    const equals = pair.indexOf('=')
    const name = decode(equals < 0 ? pair : pair.slice(0, equals))
    if (!values.has(name))
      values.set(name, equals < 0 ? '' : decode(pair.slice(equals + 1)))
  }
  return wanted.every((want) => {
    const value = values.get(want.name)
    return value !== undefined && isValue(want, value)
  })
}

function decode(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text // not UTF-8: compare as sent
  }
}
