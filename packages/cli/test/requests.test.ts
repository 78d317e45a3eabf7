// SPDX-License-Identifier: Apache-2.0
import {
  compileRequestPolicy,
  HttpCondition,
  L7Policy,
  type L7PolicyRule,
  type RequestPolicy,
} from '@pillion/contract'
import t from 'tap'
import { policyRows } from '../src/config-rows.ts'
import { answerTo, describedRequest, rulesFor } from '../src/requests.ts'

function rule(
  text: string,
  http: Partial<HttpCondition>[],
  more: Partial<L7PolicyRule> = {},
): L7PolicyRule {
  const whole = http.map((each) => ({ ...HttpCondition.fromPartial({}), ...each }))
  const base = { text, deny: false, shadow: false, peers: [300], ports: [], http: whole }
  return { ...base, ...more }
}

const message: L7Policy = {
  ...L7Policy.fromPartial({
    identity: 400,
    providers: [{ issuer: 'https://a.example' }],
  }),
  isolation: 'AccessPolicy shop/api',
  rules: [
    rule('read', [
      { methods: ['GET', 'HEAD'], paths: [{ value: '/api', prefix: true }] },
      { paths: [{ value: '/healthz', prefix: false }] },
    ]),
    rule('admin', [
      {
        paths: [{ value: '/admin', prefix: true }],
        claims: [{ path: ['realm', 'role'], values: ['admin', 'ops'] }],
        headers: [{ name: 'x-key', values: ['s3cret'] }],
        providers: [0],
      },
    ]),
    rule('never', [{ paths: [{ value: '/api/debug', prefix: true }] }], {
      ...{ deny: true, peers: [0], ports: [{ first: 8000, last: 8099 }] },
    }),
    rule('soon', [{ methods: ['HEAD'] }], { deny: true, shadow: true }),
    rule('others', [], { peers: [301] }),
  ],
}
const policy: RequestPolicy = compileRequestPolicy(message)
const call = { caller: 300, port: 8080 }
const described = { method: 'GET', path: '/', authority: 'api.shop', headers: [] }

t.test('what the proxy would answer, by its own evaluator', async (t) => {
  const ask = (method: string, path: string, headers: string[] = [], port = 8080) =>
    answerTo(policy, { ...call, port }, { ...described, method, path, headers })
  t.strictSame(ask('GET', '/api/x?y'), { status: 0, allowed: true, by: 'read' })
  t.strictSame(ask('HEAD', '/api'), {
    ...{ status: 0, allowed: true, by: 'read', shadow: 'soon' },
  })
  t.match(ask('POST', '/api'), { status: 403, by: 'AccessPolicy shop/api' })
  t.match(ask('GET', '/api//debug/x'), { status: 403, by: 'never' }, 'its one spelling')
  t.match(ask('GET', '/api/debug', [], 9000), { status: 0, by: 'read' }, 'another port')
  t.match(ask('GET', '/a%2fb'), { status: 400, by: /encoded slash/ })
  t.match(ask('GET', '/admin', ['x-key', 's3cret']), { status: 401 })
  t.match(ask('GET', '/admin', ['x-key', 'other']), { status: 403 })
  t.match(
    answerTo(compileRequestPolicy({ ...message, isolation: '' }), call, described),
    {
      ...{ status: 0, by: 'no policy is about it' },
    },
  )
})

t.test('rules that are about the caller, denials first', async (t) => {
  t.strictSame(rulesFor(policy, call), [
    { action: 'deny', shadow: false, requests: ['/api/debug*'], rule: 'never' },
    { action: 'deny', shadow: true, requests: ['HEAD'], rule: 'soon' },
    {
      ...{ action: 'allow', shadow: false, rule: 'read' },
      requests: ['GET|HEAD /api*', '/healthz'],
    },
    {
      ...{ action: 'allow', shadow: false, rule: 'admin' },
      requests: ['/admin* header x-key claim realm.role=admin|ops'],
    },
  ])
  t.strictSame(rulesFor(policy, { caller: 301, port: 9000 }), [
    { action: 'allow', shadow: false, requests: ['any'], rule: 'others' },
  ])
})

t.test('a request as it is described', async (t) => {
  t.equal(describedRequest({}, 'api.shop'), undefined)
  t.strictSame(describedRequest({ path: '/x' }, 'api.shop'), { ...described, path: '/x' })
  const header = ['X-User: a', 'Host: other', 'x-user:b ']
  t.strictSame(describedRequest({ header }, 'api.shop'), {
    ...{ ...described, authority: 'other', headers: ['x-user', 'a', 'x-user', 'b'] },
  })
  t.throws(() => describedRequest({ header: ['x'] }, ''), { code: 'usage' })
})

t.test(
  'config policies has a row for each condition, and no values of headers',
  async (t) => {
    const { head, rows } = policyRows({ l7Policy: { '400': message } })
    t.strictSame(head.slice(3), ['PEER', 'PORT', 'REQUEST', 'RULE'])
    t.strictSame(rows[0], [
      ...['identity 400', 'requests', 'deny', 'anyone', '8000-8099/TCP'],
      ...['/api/debug*', 'never'],
    ])
    t.equal(rows.length, 5, 'rules about connections are listed as such')
    t.equal(rows[1]?.[1], 'shadow requests')
    t.notMatch(JSON.stringify(rows), /s3cret/)
  },
)
