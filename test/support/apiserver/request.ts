// SPDX-License-Identifier: Apache-2.0
// What a request asks for, read from method and path as the API server does (RequestInfo).
import type { IncomingMessage } from 'node:http'

/** One request, parsed. */
export interface RequestInfo {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** RBAC verb: get, list, watch, create, update, patch, delete, deletecollection; lower-case method outside resources. */
  readonly verb: string
  readonly group: string
  readonly version: string
  /** Plural name; empty for a path that is no resource, such as `/apis`. */
  readonly plural: string
  readonly namespace: string | undefined
  readonly name: string | undefined
  readonly subresource: string | undefined
}

const verbs: Readonly<Record<string, string>> = {
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
  GET: 'get',
}

const isTrue = (value: string | null): boolean =>
  value !== null && value !== '' && value !== '0' && value !== 'false'

function verbOf(
  method: string,
  name: string | undefined,
  query: URLSearchParams,
): string {
  if (method === 'GET') {
    if (isTrue(query.get('watch'))) return 'watch'
    return name === undefined ? 'list' : 'get'
  }
  if (method === 'DELETE' && name === undefined) return 'deletecollection'
  return verbs[method] ?? method.toLowerCase()
}

/** Reads method, path and query of a request. */
export function parseRequest(
  request: Pick<IncomingMessage, 'method' | 'url'>,
): RequestInfo {
  const url = new URL(request.url ?? '/', 'http://server')
  const method = request.method ?? 'GET'
  const base = { method, path: url.pathname, query: url.searchParams }
  const parts = url.pathname.split('/').filter(Boolean).map(decodeURIComponent)
  const isCore = parts[0] === 'api' && parts.length > 2
  if (!isCore && !(parts[0] === 'apis' && parts.length > 3)) {
    const nothing = { namespace: undefined, name: undefined, subresource: undefined }
    return {
      ...{ ...base, ...nothing, verb: method.toLowerCase() },
      ...{ group: '', version: '', plural: '' },
    }
  }
  const [group = '', version = ''] = isCore ? ['', parts[1]] : [parts[1], parts[2]]
  let rest = parts.slice(isCore ? 2 : 3)
  let namespace: string | undefined
  // /namespaces/NAME/status and /finalize are of the namespace itself.
  const ofNamespace = rest.length === 3 && ['status', 'finalize'].includes(rest[2] ?? '')
  if (rest[0] === 'namespaces' && rest.length > 2 && !ofNamespace) {
    namespace = rest[1]
    rest = rest.slice(2)
  }
  const [plural = '', name, subresource] = rest
  if (plural === 'namespaces' && name !== undefined) namespace = name
  const verb = verbOf(method, name, url.searchParams)
  return { ...base, verb, group, version, plural, namespace, name, subresource }
}
