// SPDX-License-Identifier: Apache-2.0
// A browser may read what the proxy itself answers where the rule has CORS, whatever the error is.
import {
  Cors,
  LimitScope,
  L7PolicyRule,
  L7Protocol,
  Resource,
  type RouteRule,
  type Traffic,
  Traffic as TrafficOf,
} from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend, type Reply } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'

const backend = await httpBackend((request, response) => {
  if (request.url === '/silent') return
  response.setHeader('access-control-allow-origin', '*')
  response.end('ok')
})

const cors: RouteRule['filters'] = [
  {
    body: {
      $case: 'cors',
      value: Cors.fromPartial({
        allowOrigins: ['https://a.example'],
        allowCredentials: true,
        exposeHeaders: ['X-Pillion-Reason'],
        maxAgeSeconds: 5,
      }),
    },
  },
  {
    body: {
      $case: 'responseHeaders',
      value: { set: [{ name: 'X-Edited', value: 'yes' }], add: [], remove: [] },
    },
  },
]

/** A service whose one rule has CORS. */
function readable(
  id: number,
  name: string,
  more: { rule?: Partial<RouteRule>; traffic?: Traffic; to?: string } = {},
): Resource[] {
  const rules = [rule('/', { [more.to ?? name]: 1 }, { filters: cors, ...more.rule })]
  return [
    service(id, name, L7Protocol.HTTP),
    table(id, name, { hasRoutes: true, rules, traffic: more.traffic }),
  ]
}

const proxy = await startProxy([
  ...readable(1, 'empty'),
  ...readable(2, 'limited', {
    traffic: TrafficOf.fromPartial({
      rateLimits: [
        { scope: LimitScope.SERVICE, requests: 1, burst: 1, intervalMs: 120_000 },
      ],
    }),
  }),
  endpoint(2, 'limited', backend.port),
  ...readable(3, 'guarded'),
  endpoint(3, 'guarded', backend.port, { identity: 400 }),
  ...readable(4, 'invalid', { to: '' }),
  ...readable(5, 'slow', { rule: { requestTimeoutMs: 50 } }),
  endpoint(5, 'slow', backend.port),
  ...readable(6, 'faulty', {
    traffic: TrafficOf.fromPartial({
      faults: { abortShare: 1_000_000, abortStatus: 418 },
    }),
  }),
  endpoint(6, 'faulty', backend.port),
  service(7, 'plain', L7Protocol.HTTP),
  {
    name: '400',
    body: {
      $case: 'l7Policy',
      value: {
        identity: 400,
        isolation: 'AccessPolicy shop/web',
        shadowIsolation: '',
        providers: [],
        rules: [L7PolicyRule.fromPartial({ peers: [999], http: [{}] })],
      },
    },
  },
])
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})

const get = async (id: number, path = '/', origin = 'https://a.example') =>
  ask(proxy.port, id, path, { from: 1, headers: { origin } })

function allows(reply: Reply): unknown {
  return reply.headers['access-control-allow-origin']
}

t.test('an error of the proxy says who may read it', async (t) => {
  t.equal((await get(2)).status, 200, 'the one request that the limit allows')
  const cases: [id: number, status: number, path?: string][] = [
    [1, 503],
    [2, 429],
    [3, 403],
    [4, 500],
    [5, 504, '/silent'],
    [6, 418],
  ]
  for (const [id, status, path] of cases) {
    const reply = await get(id, path)
    t.equal(reply.status, status)
    t.equal(allows(reply), 'https://a.example', `${status}`)
    t.equal(reply.headers['access-control-allow-credentials'], 'true')
    t.equal(reply.headers['access-control-expose-headers'], 'X-Pillion-Reason')
    t.match(reply.headers.vary, 'Origin')
    t.equal(reply.headers['x-edited'], undefined, 'modifiers are for the backend')
  }
})

t.test('other origins and rules without CORS learn nothing', async (t) => {
  t.equal(allows(await get(1, '/', 'https://b.example')), undefined)
  const plain = await get(7)
  t.equal(plain.status, 503)
  t.equal(allows(plain), undefined)
})

t.test('a preflight costs none of what the limit allows', async (t) => {
  const headers = { origin: 'https://a.example', 'access-control-request-method': 'PUT' }
  const options = { from: 1, method: 'OPTIONS', headers }
  t.equal((await ask(proxy.port, 2, '/', options)).status, 200)
  t.equal((await get(2)).status, 429)
})
