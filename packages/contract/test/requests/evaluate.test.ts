// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { HttpCondition, L7Policy, L7PolicyRule } from '../../src/gen/pillion/v1/access.ts'
import {
  evaluateRequest,
  type RequestDecision,
  type RequestQuestion,
} from '../../src/requests/evaluate.ts'
import { compileRequestPolicy, type RequestPolicy } from '../../src/requests/policy.ts'

const issuer = { issuer: 'https://issuer.example' }

type Part = {
  text: string
  deny?: boolean
  shadow?: boolean
  peers?: number[]
  ports?: { first: number; last: number }[]
  http?: Partial<HttpCondition>[]
}

function policyOf(
  rules: Part[],
  rest: { isolation?: string; shadowIsolation?: string },
): RequestPolicy {
  const whole = rules.map(({ http, ...rule }) => ({
    ...L7PolicyRule.fromPartial({ peers: [300] }),
    ...rule,
    http: (http ?? []).map((each) => ({ ...HttpCondition.fromPartial({}), ...each })),
  }))
  const base = L7Policy.fromPartial({ identity: 400, providers: [issuer] })
  return compileRequestPolicy({ ...base, rules: whole, ...rest })
}

const asked: RequestQuestion = {
  ...{ caller: 300, port: 8080, method: 'GET', path: '/api/x?q', authority: 'web' },
  ...{ headers: [], token: undefined },
}

const isolation = 'AccessPolicy shop/web'

t.test('of what is isolated, only what a rule allows', (t) => {
  const policy = policyOf(
    [
      {
        text: 'read',
        ports: [{ first: 8000, last: 8080 }],
        http: [
          { methods: ['GET', 'HEAD'], paths: [{ value: '/api/', prefix: true }] },
          { paths: [{ value: '/healthz', prefix: false }] },
        ],
      },
      { text: 'operators', peers: [301] },
    ],
    { isolation },
  )
  const rows: [Partial<RequestQuestion>, string, boolean][] = [
    [{}, 'read', true],
    [{ path: '/api' }, 'read', true],
    [{ path: '/apix' }, isolation, false],
    [{ path: '/' }, isolation, false],
    [{ method: 'POST' }, isolation, false],
    [{ method: 'get' }, isolation, false],
    [{ method: 'POST', path: '/healthz?x' }, 'read', true],
    [{ path: '/healthz/' }, isolation, false],
    [{ path: '/API/x' }, isolation, false],
    [{ port: 8081 }, isolation, false],
    [{ caller: 302 }, isolation, false],
    [{ caller: 301, method: 'DELETE' }, 'operators', true],
  ]
  for (const [change, by, allowed] of rows) {
    const { enforced, shadow } = evaluateRequest(policy, { ...asked, ...change })
    t.match(enforced, { allowed, by }, JSON.stringify(change))
    t.equal(shadow, undefined)
  }
  t.strictSame(policy.judged, new Set([300]))
  t.end()
})

t.test('without isolation everything but what is denied', (t) => {
  const policy = policyOf(
    [
      {
        text: 'no admin',
        deny: true,
        http: [
          {
            paths: [{ value: '/admin', prefix: true }],
            headers: [],
          },
          { headers: [{ name: 'x-role', values: ['guest'] }] },
          { headers: [{ name: 'x-debug', values: [] }] },
        ],
      },
    ],
    {},
  )
  const denied = (change: Partial<RequestQuestion>): boolean =>
    !evaluateRequest(policy, { ...asked, ...change }).enforced.allowed
  t.notOk(denied({}))
  t.ok(denied({ path: '/admin' }))
  t.ok(denied({ path: '/admin/x' }))
  t.ok(denied({ path: '/admin;x=1/y' }), 'parameters are no way around')
  t.notOk(denied({ path: '/administration' }))
  t.ok(denied({ headers: ['x-role', 'guest'] }))
  t.ok(denied({ headers: ['x-role', 'boss', 'x-role', 'guest'] }), 'nor a second value')
  t.ok(denied({ headers: ['x-debug', ''] }), 'any value')
  t.notOk(denied({ caller: 301, path: '/admin' }))
  t.end()
})

t.test('a permission by header is about all its values', (t) => {
  const policy = policyOf(
    [{ text: 'boss', http: [{ headers: [{ name: 'x-role', values: ['boss'] }] }] }],
    { isolation },
  )
  const allowed = (headers: string[]): boolean =>
    evaluateRequest(policy, { ...asked, headers }).enforced.allowed
  t.ok(allowed(['x-role', 'boss']))
  t.notOk(allowed(['x-role', 'boss', 'x-role', 'guest']))
  t.notOk(allowed([]))
  t.end()
})

t.test('claims of a token', (t) => {
  const policy = policyOf(
    [
      {
        text: 'admins',
        http: [
          {
            claims: [
              { path: ['realm', 'roles'], values: ['admin', 'root'] },
              { path: ['scope'], values: ['write'] },
            ],
            providers: [0],
          },
        ],
      },
    ],
    { isolation },
  )
  const [provider] = policy.providers
  if (provider === undefined) throw new Error('no provider')
  const ask = (claims: Record<string, unknown>, by = provider): RequestDecision =>
    evaluateRequest(policy, { ...asked, token: { provider: by, claims } }).enforced
  const roles = (...roles: unknown[]): Record<string, unknown> => ({
    realm: { roles },
    scope: 'read write',
  })
  t.match(ask(roles('admin')), { allowed: true, by: 'admins' })
  t.match(ask(roles('user', 'root')), { allowed: true })
  t.match(ask(roles('user')), { allowed: false, wantsToken: false })
  t.match(ask(roles('x admin')), { allowed: false }, 'only scope is a list of words')
  t.match(ask({ ...roles('admin'), scope: 'rewrite' }), { allowed: false })
  t.match(ask({ 'realm.roles': ['admin'], scope: 'write' }), { allowed: false })
  t.match(ask({}), { allowed: false })
  t.match(ask(roles('admin'), { ...provider }), { allowed: false }, 'of another provider')
  t.match(evaluateRequest(policy, asked).enforced, { allowed: false, wantsToken: true })
  t.match(
    evaluateRequest(policy, { ...asked, caller: 301 }).enforced,
    { allowed: false, wantsToken: false },
    'a token would not help',
  )
  t.end()
})

t.test('a denial wins over every permission', (t) => {
  const policy = policyOf(
    [{ text: 'all' }, { text: 'none', deny: true, http: [{ methods: ['GET'] }] }],
    { isolation },
  )
  t.match(evaluateRequest(policy, asked).enforced, { allowed: false, by: 'none' })
  t.match(evaluateRequest(policy, { ...asked, method: 'PUT' }).enforced, {
    allowed: true,
  })
  t.end()
})

t.test('Shadow decides nothing, and says what it would', (t) => {
  const denying = policyOf(
    [
      { text: 'all' },
      { text: 'dry', deny: true, shadow: true, http: [{ methods: ['GET'] }] },
    ],
    { isolation },
  )
  t.match(evaluateRequest(denying, asked), {
    enforced: { allowed: true, by: 'all' },
    shadow: { allowed: false, by: 'dry' },
  })
  const isolating = policyOf(
    [{ text: 'dry', shadow: true, http: [{ methods: ['PUT'] }] }],
    { shadowIsolation: 'AccessPolicy shop/dry' },
  )
  t.match(evaluateRequest(isolating, asked), {
    enforced: { allowed: true, by: '' },
    shadow: { allowed: false, by: 'AccessPolicy shop/dry' },
  })
  const opening = policyOf([{ text: 'dry', shadow: true }], { isolation })
  t.match(evaluateRequest(opening, asked), {
    enforced: { allowed: false },
    shadow: { allowed: true, by: 'dry' },
  })
  t.end()
})

t.test('claims without a provider are refused as a configuration', (t) => {
  t.throws(
    () =>
      policyOf([{ text: 'odd', http: [{ claims: [{ path: ['a'], values: [] }] }] }], {}),
    {
      message: /odd: claims, but nobody/,
    },
  )
  t.throws(() => policyOf([{ text: 'odd', http: [{ providers: [7] }] }], {}), {
    message: /no token provider 7/,
  })
  t.end()
})
