// SPDX-License-Identifier: Apache-2.0
// HTTPCORSFilter (Gateway API, GEP-1767), after the CORS protocol of the Fetch standard. Preflights are answered here; an origin
// that is not allowed gets the same answers without the headers that a browser looks for.
import { getHeader, type Headers } from '../headers.ts'
import type { CorsSpec, HeaderEdit } from '../route/table.ts'

type Pairs = [name: string, value: string][]

/** Headers of the answer to a preflight; undefined: the request is none, and goes to the backend. */
export function preflightAnswer(
  cors: CorsSpec,
  request: { readonly method: string; readonly headers: Headers },
): Headers | undefined {
  const { method, headers } = request
  const origin = getHeader(headers, 'origin')
  const wanted = getHeader(headers, 'access-control-request-method')
  if (method !== 'OPTIONS' || origin === undefined || wanted === undefined)
    return undefined
  const vary = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'
  if (!cors.allowsOrigin(origin)) return ['vary', vary]
  // What is asked for is named instead of "*", which browsers do not accept with credentials.
  const methods = cors.methods ?? wanted
  const names = cors.headers ?? getHeader(headers, 'access-control-request-headers') ?? ''
  return [
    ...allowed(cors, origin),
    ...present('access-control-allow-methods', methods),
    ...present('access-control-allow-headers', names),
    ['access-control-max-age', String(cors.maxAgeSeconds)] as const,
    ['vary', vary] as const,
  ].flat()
}

/** What becomes of the backend's answer. The route decides who may read it: what the backend says of that is replaced. */
export function corsEdit(cors: CorsSpec, headers: Headers): HeaderEdit {
  const origin = getHeader(headers, 'origin')
  const set =
    origin !== undefined && cors.allowsOrigin(origin) ? allowed(cors, origin) : []
  const said = new Set(set.map(([name]) => name))
  return {
    set,
    add: [['vary', 'Origin']],
    remove: [
      'access-control-allow-origin',
      'access-control-allow-credentials',
      'access-control-expose-headers',
    ].filter((name) => !said.has(name)),
  }
}

function allowed(cors: CorsSpec, origin: string): Pairs {
  return [
    ['access-control-allow-origin', origin],
    ...present('access-control-allow-credentials', cors.credentials ? 'true' : ''),
    ...present('access-control-expose-headers', cors.expose),
  ]
}

function present(name: string, value: string): Pairs {
  return value === '' ? [] : [[name, value]]
}
