// SPDX-License-Identifier: Apache-2.0
// PURE: what a route asks for that is not carried out yet. Such a route is refused as a whole: a match or a filter that is
// silently left out would send requests where nobody wanted them.
import type { RouteFilter } from '../api/route-filter.ts'
import type { Route } from './parents.ts'

const carriedOut: ReadonlySet<RouteFilter['type']> = new Set([
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestRedirect',
  'URLRewrite',
  'RequestMirror',
  'CORS',
])

/** Those that a GRPCRoute has not. */
const httpOnly: ReadonlySet<RouteFilter['type']> = new Set([
  'RequestRedirect',
  'URLRewrite',
  'CORS',
])

/** "spec.rules[0].filters[1]: RequestMirror is not supported", one for each. */
export function unsupported(route: Route): string[] {
  const out: string[] = []
  const say = (at: string, what: string): void => {
    out.push(`spec.rules${at}: ${what} is not supported`)
  }
  for (const [i, rule] of route.spec.rules.entries()) {
    checkFilters(rule.filters, `[${i}]`, say)
    for (const [j, backend] of rule.backendRefs.entries()) {
      const at = `[${i}].backendRefs[${j}]`
      checkFilters(backend.filters, at, say)
      for (const [k, { type }] of backend.filters.entries()) {
        // A preflight says nothing of which backend will take the request.
        if (type === 'CORS') say(`${at}.filters[${k}]`, 'CORS of one backend')
        if (type === 'URLRewrite' && rule.filters.some((each) => each.type === type))
          say(`${at}.filters[${k}]`, 'URLRewrite of a backend beside that of its rule')
      }
    }
  }
  if (route.kind === 'HTTPRoute') checkHttp(route.spec.rules, say)
  else checkGrpc(route.spec.rules, say)
  return out
}

type Say = (at: string, what: string) => void

function checkFilters(filters: readonly RouteFilter[], at: string, say: Say): void {
  for (const [i, { type }] of filters.entries()) {
    if (!carriedOut.has(type)) say(`${at}.filters[${i}]`, type)
  }
}

function checkHttp(
  rules: Extract<Route, { kind: 'HTTPRoute' }>['spec']['rules'],
  say: Say,
): void {
  for (const [i, { matches }] of rules.entries()) {
    for (const [j, { method }] of matches.entries()) {
      if (method === 'CONNECT') say(`[${i}].matches[${j}].method`, 'CONNECT')
    }
  }
}

function checkGrpc(
  rules: Extract<Route, { kind: 'GRPCRoute' }>['spec']['rules'],
  say: Say,
): void {
  const check = (filters: readonly RouteFilter[], at: string): void => {
    for (const [k, { type }] of filters.entries()) {
      if (httpOnly.has(type)) say(`${at}.filters[${k}]`, `${type} of a GRPCRoute`)
    }
  }
  for (const [i, rule] of rules.entries()) {
    check(rule.filters, `[${i}]`)
    for (const [j, { filters }] of rule.backendRefs.entries())
      check(filters, `[${i}].backendRefs[${j}]`)
  }
}
