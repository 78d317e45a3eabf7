// SPDX-License-Identifier: Apache-2.0
// Copies of requests: what they carry, and that nothing that becomes of them is felt by the request. Sessions, end to end.
import {
  HttpCondition,
  L7PolicyRule,
  L7Protocol,
  type Resource,
  Traffic,
} from '@pillion/contract'
import t from 'tap'
import { bodyBytes } from '../../src/filter/mirror.ts'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const copies: { url: string; body: string; headers: Record<string, unknown> }[] = []
const mirror = await httpBackend((request, response) => {
  let body = ''
  request.setEncoding('utf8').on('data', (text: string) => (body += text))
  request.on('end', () => {
    copies.push({ url: request.url ?? '', body, headers: request.headers })
    response.writeHead(500).end('nobody reads this')
  })
})
// Takes requests and never answers.
const silent = await httpBackend(() => undefined)
const echoes = await Promise.all(
  ['one', 'two', 'three'].map((name) =>
    httpBackend((request, response) => {
      let size = 0
      request.on('data', (chunk: Buffer) => (size += chunk.length))
      request.on('end', () => response.end(JSON.stringify({ name, size })))
    }),
  ),
)

function mirrorTo(name: string): ReturnType<typeof rule>['filters'] {
  const backend = rule('/', { [name]: 1 }).backends[0]
  return [{ body: { $case: 'mirror', value: { backend, numerator: 1, denominator: 1 } } }]
}

/** Whoever calls identity 400 may GET below /copy/public. */
const policy: Resource = {
  name: '400',
  body: {
    $case: 'l7Policy',
    value: {
      ...{ identity: 400, isolation: 'AccessPolicy shop/copy', shadowIsolation: '' },
      providers: [],
      rules: [
        {
          ...L7PolicyRule.fromPartial({ peers: [256] }),
          http: [
            {
              ...HttpCondition.fromPartial({ methods: ['GET'] }),
              paths: [{ value: '/copy/public', prefix: true }],
            },
          ],
        },
      ],
    },
  },
}

const proxy = await startProxy([
  service(1, 'web', L7Protocol.HTTP),
  ...echoes.map(({ port }) => endpoint(1, 'web', port)),
  service(2, 'copy', L7Protocol.HTTP),
  endpoint(2, 'copy', mirror.port, { identity: 400 }),
  service(3, 'silent', L7Protocol.HTTP),
  endpoint(3, 'silent', silent.port),
  service(4, 'empty', L7Protocol.HTTP),
  service(5, 'narrow', L7Protocol.HTTP),
  endpoint(5, 'narrow', silent.port),
  table(5, 'narrow', {
    traffic: Traffic.fromPartial({ circuitBreaker: { maxRequests: 2 } }),
  }),
  table(1, 'web', {
    hasRoutes: true,
    rules: [
      rule('/copy', { web: 1 }, { filters: mirrorTo('copy') }),
      rule('/silent', { web: 1 }, { filters: mirrorTo('silent') }),
      rule('/narrow', { web: 1 }, { filters: mirrorTo('narrow') }),
      rule('/empty', { web: 1 }, { filters: mirrorTo('empty') }),
      rule(
        '/session',
        { web: 1 },
        {
          session: {
            ...{ name: 'sid', header: false, permanent: false },
            ...{ absoluteTimeoutSeconds: 0, idleTimeoutSeconds: 0 },
          },
        },
      ),
    ],
  }),
])
t.teardown(async () => {
  await proxy.stop()
  for (const each of [mirror, silent, ...echoes]) await each.close()
})
const dropped = (): Promise<number> => proxy.metric('pillion_mirrors_dropped_total')
const post = (path: string, body: string): ReturnType<typeof ask> =>
  ask(proxy.port, 1, path, { method: 'POST', body })

t.test('a copy has method, path, headers and body', async (t) => {
  const reply = await ask(proxy.port, 1, '/copy?x=1', {
    ...{ method: 'PUT', body: 'hello', headers: { 'x-own': 'yes' } },
  })
  t.equal(reply.status, 200, 'its 500 is nobody’s')
  await until(() => copies.length === 1, 'the copy')
  t.match(copies[0], { url: '/copy?x=1', body: 'hello', headers: { 'x-own': 'yes' } })
  await until(async () => (await proxy.metric('pillion_mirrored_total')) === 1, 'counted')
})

t.test('a body at the bound is copied, a longer one is not', async (t) => {
  copies.length = 0
  await post('/copy/long', 'x'.repeat(bodyBytes + 1))
  await until(async () => (await dropped()) === 1, 'given up')
  const reply = await post('/copy/fits', 'x'.repeat(bodyBytes))
  t.match(reply.body, `"size":${bodyBytes}`)
  await until(() => copies.length === 1, 'the copy that fits')
  t.equal(copies[0]?.url, '/copy/fits')
  t.equal(copies[0]?.body.length, bodyBytes)
})

t.test('a mirror that does not answer, or is not there, is not felt', async (t) => {
  const before = await dropped()
  const started = performance.now()
  for (let i = 0; i < 20; i++) t.equal((await post('/silent', 'x')).status, 200)
  t.equal((await post('/empty', 'x')).status, 200)
  t.ok(performance.now() - started < 5000, 'no request waited for a copy')
  t.equal((await dropped()) - before, 1, 'the one without an endpoint is counted')
})

t.test('copies do not flood a service that limits its requests', async (t) => {
  const before = await dropped()
  for (let i = 0; i < 10; i++) t.equal((await post('/narrow', 'x')).status, 200)
  t.equal((await dropped()) - before, 8, 'two are in flight')
})

t.test('policy of the mirror is asked, and its refusal is not felt', async (t) => {
  await proxy.operator.send([policy])
  copies.length = 0
  const before = await dropped()
  t.equal((await post('/copy/public', 'x')).status, 200)
  t.equal((await ask(proxy.port, 1, '/copy/secret')).status, 200)
  t.equal((await dropped()) - before, 2, 'neither the method nor the path is allowed')
  t.equal((await ask(proxy.port, 1, '/copy/public/x')).status, 200)
  await until(() => copies.length > 0, 'the copy that is allowed')
  t.same(
    copies.map(({ url }) => url),
    ['/copy/public/x'],
  )
  await proxy.operator.send([], [{ kind: 'l7Policy', name: '400' }])
})

t.test('a session stays with one of three endpoints', async (t) => {
  const first = await ask(proxy.port, 1, '/session')
  const [set = ''] = first.headers['set-cookie'] ?? []
  t.match(set, /^sid=.*; Path=\/; HttpOnly$/)
  const cookie = set.split(';')[0] ?? ''
  for (let i = 0; i < 20; i++) {
    const next = await ask(proxy.port, 1, '/session', { headers: { cookie } })
    t.equal(next.body, first.body)
    t.equal(next.headers['set-cookie'], undefined, 'it has it already')
  }
  const others = new Set<string>()
  for (let i = 0; i < 50; i++) others.add((await ask(proxy.port, 1, '/session')).body)
  t.equal(others.size, 3, 'without it everybody')
})
