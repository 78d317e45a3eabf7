// SPDX-License-Identifier: Apache-2.0
// What the conformance test (test/conformance/filters.test.ts) does not ask of CORS.
import type { Cors } from '@pillion/contract'
import t from 'tap'
import { corsEdit, preflightAnswer } from '../../src/filter/cors.ts'
import { editHeaders } from '../../src/filter/header-modifier.ts'
import { getHeader } from '../../src/headers.ts'
import { compileFilters } from '../../src/route/compile-filters.ts'
import type { CorsSpec } from '../../src/route/table.ts'

function spec(more: Partial<Cors> = {}): CorsSpec {
  const value: Cors = {
    ...{ allowOrigins: ['https://a.example'], allowCredentials: false, allowMethods: [] },
    ...{ allowHeaders: [], exposeHeaders: [], maxAgeSeconds: 5, ...more },
  }
  const { cors } = compileFilters([{ body: { $case: 'cors', value } }])
  if (cors === undefined) throw new Error('no CORS')
  return cors
}

t.test('origins', async (t) => {
  const allows = (pattern: string, origin: string): boolean =>
    spec({ allowOrigins: [pattern] }).allowsOrigin(origin)
  t.ok(allows('https://a.example', 'https://A.example'), 'scheme and host have no case')
  t.notOk(allows('https://a.example', 'http://a.example'))
  t.notOk(allows('https://a.example', 'https://a.example:8443'), 'another port')
  t.ok(allows('https://*.a.example', 'https://x.y.a.example'))
  t.notOk(allows('https://*.a.example', 'https://a.example'), 'not the bare domain')
  t.notOk(allows('https://*.a.example', 'https://evil/.a.example'))
  t.notOk(allows('https://*.a.example', 'https://x@y:1.a.example'))
  t.notOk(allows('https://*.a.example:8443', 'https://x.a.example'))
  t.ok(allows('https://*', 'https://whoever.example'))
  t.notOk(allows('https://*', 'http://whoever.example'))
  t.ok(allows('*', 'null'))
  t.notOk(spec({ allowOrigins: [] }).allowsOrigin('https://a.example'), 'none is none')
})

t.test('what is no preflight goes on', async (t) => {
  const ask = (method: string, ...headers: string[]): unknown =>
    preflightAnswer(spec(), { method, headers })
  const [origin, wanted] = [
    ['origin', 'https://a.example'],
    ['access-control-request-method', 'PUT'],
  ] as const
  t.ok(ask('OPTIONS', ...origin, ...wanted))
  t.equal(ask('GET', ...origin, ...wanted), undefined)
  t.equal(ask('OPTIONS', ...origin), undefined)
  t.equal(ask('OPTIONS', ...wanted), undefined)
})

t.test('the route decides who may read, whatever the backend says', async (t) => {
  const answer = (origin: string): string[] => {
    const headers = ['access-control-allow-origin', '*', 'vary', 'Accept']
    editHeaders(headers, corsEdit(spec(), ['origin', origin]))
    return headers
  }
  const allowed = answer('https://a.example')
  t.equal(getHeader(allowed, 'access-control-allow-origin'), 'https://a.example')
  t.equal(getHeader(allowed, 'vary'), 'Accept,Origin', 'caches keep them apart')
  const other = answer('https://b.example')
  t.equal(getHeader(other, 'access-control-allow-origin'), undefined)
})
