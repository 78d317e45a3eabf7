// SPDX-License-Identifier: Apache-2.0
// PURE: matches of routes, and their precedence (HTTPRouteRule and GRPCRouteRule of the Gateway API).
import { MatchKind, type NamedMatch, type RouteMatch } from '@pillion/contract'
import type { ApiObject } from '../api/object.ts'

export type HttpMatch = ApiObject<'HTTPRoute'>['spec']['rules'][number]['matches'][number]
export type GrpcMatch = ApiObject<'GRPCRoute'>['spec']['rules'][number]['matches'][number]

export const anyHttp: HttpMatch = {
  path: { type: 'PathPrefix', value: '/' },
  headers: [],
  queryParams: [],
}
export const anyGrpc: GrpcMatch = { headers: [] }

export interface Match {
  readonly match: RouteMatch
  /** Compared one after the other, the greater first: see `precedence`. */
  readonly rank: readonly number[]
}

const kinds = {
  Exact: MatchKind.EXACT,
  PathPrefix: MatchKind.PATH_PREFIX,
  RegularExpression: MatchKind.REGULAR_EXPRESSION,
} as const

/** The standard leaves the place of expressions open: between, so that a rule for "/" does not hide them. */
const pathRank = { Exact: 2, RegularExpression: 1, PathPrefix: 0 } as const

/**
 * Exact path, then expressions, then prefixes, the longer first; then method, then the number of headers, then of query
 * parameters.
 */
export function httpMatch({ path, headers, queryParams, method }: HttpMatch): Match {
  // "/v2/" and "/v2" are the same prefix.
  const value =
    path.type === 'PathPrefix' ? path.value.replace(/\/+$/, '') || '/' : path.value
  const names = values(headers, (name) => name.toLowerCase())
  const query = values(queryParams, (name) => name)
  return {
    match: {
      path: { kind: kinds[path.type], value },
      method: method ?? '',
      headers: names,
      query,
    },
    rank: [
      pathRank[path.type],
      value.length,
      Number(method !== undefined),
      names.length,
      query.length,
    ],
  }
}

/** Characters of the service, then of the method, names before expressions; then the number of headers. */
export function grpcMatch({ method, headers }: GrpcMatch): Match {
  const names = values(headers, (name) => name.toLowerCase())
  const { service = '', method: call = '', type = 'Exact' } = method ?? {}
  const named = type === 'Exact' ? 1 : 0
  return {
    match: { path: grpcPath(type, service, call), method: '', headers: names, query: [] },
    rank: [
      service === '' ? 0 : 1 + named,
      service.length,
      call === '' ? 0 : 1 + named,
      call.length,
      names.length,
    ],
  }
}

/** A call's path is "/service/method" (gRPC over HTTP/2). '' is any service, or any method. */
function grpcPath(
  type: 'Exact' | 'RegularExpression',
  service: string,
  method: string,
): NonNullable<RouteMatch['path']> {
  if (type === 'Exact' && service !== '' && method !== '')
    return { kind: MatchKind.EXACT, value: `/${service}/${method}` }
  if (method === '' && (type === 'Exact' || service === ''))
    return { kind: MatchKind.PATH_PREFIX, value: `/${service}` }
  const part = (text: string): string => {
    if (text === '') return '[^/]+'
    // Names have letters, digits, "_" and ".": only the dot means something else in an expression.
    return type === 'Exact' ? text.replaceAll('.', '\\.') : `(?:${text})`
  }
  const value = `/${part(service)}/${part(method)}`
  return { kind: MatchKind.REGULAR_EXPRESSION, value }
}

/** Of several matches of one name only the first counts (HTTPHeaderMatch, HTTPQueryParamMatch). */
function values(
  matches: readonly {
    name: string
    value: string
    type: 'Exact' | 'RegularExpression'
  }[],
  spell: (name: string) => string,
): NamedMatch[] {
  const out = new Map<string, NamedMatch>()
  for (const { name, value, type } of matches) {
    const spelled = spell(name)
    if (!out.has(spelled)) out.set(spelled, { name: spelled, kind: kinds[type], value })
  }
  return [...out.values()]
}

/** For sort: negative when `a` goes before `b`. */
export function precedence(a: readonly number[], b: readonly number[]): number {
  for (const [i, rank] of a.entries()) {
    const difference = (b[i] ?? 0) - rank
    if (difference !== 0) return difference
  }
  return 0
}
