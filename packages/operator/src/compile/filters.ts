// SPDX-License-Identifier: Apache-2.0
// PURE: the filters of routes and backends that are carried out (unsupported.ts refuses routes with others).
import type {
  Filter,
  HeaderModifier as WireModifier,
  PathModifier as WirePath,
} from '@pillion/contract'
import type { HeaderModifier, PathModifier, Redirect, RouteFilter } from '../api/route.ts'

export function compileFilters(filters: readonly RouteFilter[]): Filter[] {
  return filters.flatMap((filter) => {
    const body = compileFilter(filter)
    return body === undefined ? [] : [{ body }]
  })
}

function compileFilter(filter: RouteFilter): Filter['body'] {
  const { requestHeaderModifier, responseHeaderModifier, requestRedirect, urlRewrite } =
    filter
  if (requestHeaderModifier)
    return { $case: 'requestHeaders', value: headers(requestHeaderModifier) }
  if (responseHeaderModifier)
    return { $case: 'responseHeaders', value: headers(responseHeaderModifier) }
  if (requestRedirect) return { $case: 'redirect', value: redirect(requestRedirect) }
  if (urlRewrite) {
    const value = { hostname: urlRewrite.hostname ?? '', path: path(urlRewrite.path) }
    return { $case: 'rewrite', value }
  }
  return undefined
}

function headers({ set, add, remove }: HeaderModifier): WireModifier {
  const lower = (list: HeaderModifier['set']): WireModifier['set'] =>
    list.map(({ name, value }) => ({ name: name.toLowerCase(), value }))
  return {
    set: lower(set),
    add: lower(add),
    remove: remove.map((name) => name.toLowerCase()),
  }
}

function redirect({ scheme, hostname, port, path: modifier, statusCode }: Redirect) {
  return {
    scheme: scheme ?? '',
    hostname: hostname ?? '',
    port: port ?? 0,
    path: path(modifier),
    status: statusCode,
  }
}

function path(modifier: PathModifier | undefined): WirePath | undefined {
  if (modifier === undefined) return undefined
  return modifier.type === 'ReplaceFullPath'
    ? { full: modifier.replaceFullPath ?? '/' }
    : { prefix: modifier.replacePrefixMatch ?? '/' }
}
