// SPDX-License-Identifier: Apache-2.0
// PURE: what a route asks for that is not carried out yet. Such a route is refused as a whole: a match or a filter that is
// silently left out would send requests where nobody wanted them.
import type { RouteFilter } from '../api/route.ts'
import type { Route } from './attach.ts'

const carriedOut: ReadonlySet<RouteFilter['type']> = new Set([
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestRedirect',
  'URLRewrite',
])

/** "spec.rules[0].filters[1]: RequestMirror is not supported", one for each. */
export function unsupported(route: Route): string[] {
  const out: string[] = []
  const say = (at: string, what: string): void => {
    out.push(`spec.rules${at}: ${what} is not supported`)
  }
  for (const [i, rule] of route.spec.rules.entries()) {
    if (rule.sessionPersistence !== undefined) say(`[${i}]`, 'sessionPersistence')
    checkFilters(rule.filters, `[${i}]`, say)
    for (const [j, backend] of rule.backendRefs.entries()) {
      const at = `[${i}].backendRefs[${j}]`
      checkFilters(backend.filters, at, say)
      for (const [k, { type }] of backend.filters.entries()) {
        if (type !== 'RequestRedirect' && type !== 'URLRewrite') continue
        say(`${at}.filters[${k}]`, `${type} of one backend`)
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
    for (const [j, match] of matches.entries()) {
      const at = `[${i}].matches[${j}]`
      if (match.path.type === 'RegularExpression')
        say(`${at}.path.type`, 'RegularExpression')
      checkValues(match.headers, `${at}.headers`, say)
      checkValues(match.queryParams, `${at}.queryParams`, say)
      if (match.method === 'CONNECT') say(`${at}.method`, 'CONNECT')
    }
  }
}

function checkGrpc(
  rules: Extract<Route, { kind: 'GRPCRoute' }>['spec']['rules'],
  say: Say,
): void {
  for (const [i, { matches, filters }] of rules.entries()) {
    for (const [j, { type }] of filters.entries()) {
      if (type === 'RequestRedirect' || type === 'URLRewrite')
        say(`[${i}].filters[${j}]`, `${type} of a GRPCRoute`)
    }
    for (const [j, match] of matches.entries()) {
      const at = `[${i}].matches[${j}]`
      checkValues(match.headers, `${at}.headers`, say)
      if (match.method === undefined) continue
      if (match.method.type === 'RegularExpression')
        say(`${at}.method.type`, 'RegularExpression')
      // A path "/*/Method" has no exact and no prefix form.
      else if (match.method.service === undefined)
        say(`${at}.method`, 'a method without a service')
    }
  }
}

function checkValues(matches: readonly { type: string }[], at: string, say: Say): void {
  for (const [i, { type }] of matches.entries()) {
    if (type === 'RegularExpression') say(`${at}[${i}].type`, 'RegularExpression')
  }
}
