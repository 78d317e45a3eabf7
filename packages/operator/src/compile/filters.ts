// SPDX-License-Identifier: Apache-2.0
// PURE: the filters of routes and backends that are carried out (unsupported.ts refuses routes with others).
import type {
  Backend,
  Cors as WireCors,
  Filter,
  HeaderModifier as WireModifier,
  Mirror as WireMirror,
  PathModifier as WirePath,
} from '@pillion/contract'
import type {
  BackendObjectRef,
  Cors,
  HeaderModifier,
  Mirror,
  PathModifier,
  Redirect,
  RouteFilter,
} from '../api/route-filter.ts'

/** Finds the ServicePort of a mirror; `at` is the field of the filter, "spec.rules[0].filters[1]". */
export type ResolveMirror = (ref: BackendObjectRef, at: string) => Backend

/** `at` is the field that the list is in, "spec.rules[0]". */
export function compileFilters(
  filters: readonly RouteFilter[],
  at: string,
  resolve: ResolveMirror,
): Filter[] {
  return filters.flatMap((filter, i) => {
    const { requestMirror } = filter
    const body: Filter['body'] = requestMirror
      ? {
          $case: 'mirror',
          value: mirror(
            requestMirror,
            resolve(
              requestMirror.backendRef,
              `${at}.filters[${i}].requestMirror.backendRef`,
            ),
          ),
        }
      : compileFilter(filter)
    return body === undefined ? [] : [{ body }]
  })
}

function compileFilter(filter: RouteFilter): Filter['body'] {
  const { requestHeaderModifier, responseHeaderModifier, requestRedirect, urlRewrite } =
    filter
  if (filter.cors) return { $case: 'cors', value: cors(filter.cors) }
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

/** Without percent and fraction every request is copied. */
function mirror({ percent, fraction }: Mirror, backend: Backend): WireMirror {
  const share = fraction ?? { numerator: percent ?? 100, denominator: 100 }
  return { backend, ...share }
}

function cors(filter: Cors): WireCors {
  return {
    allowOrigins: filter.allowOrigins,
    allowCredentials: filter.allowCredentials ?? false,
    allowMethods: filter.allowMethods,
    allowHeaders: filter.allowHeaders,
    exposeHeaders: filter.exposeHeaders,
    maxAgeSeconds: filter.maxAge,
  }
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
