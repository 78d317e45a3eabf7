// SPDX-License-Identifier: Apache-2.0
// Rules for requests, through the real proxy: what is refused, with which answer, and what the endpoint sees of the rest.
import { generateKeyPairSync, sign } from 'node:crypto'
import {
  HttpCondition,
  type JwtProvider,
  type L7Policy,
  L7PolicyRule,
  L7Protocol,
  Resource,
} from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend, type Reply } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

type Seen = { url: string; headers: Record<string, unknown> }
let seen: Seen | undefined
const backend = await httpBackend((request, response) => {
  seen = { url: request.url ?? '', headers: request.headers }
  response.end('ok')
})

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'EdDSA' }
const encode = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url')
function tokenOf(claims: object): string {
  const exp = Math.floor(Date.now() / 1000) + 60
  const whole = { iss: 'https://issuer.example', exp, ...claims }
  const body = `${encode({ alg: 'EdDSA', kid: 'k' })}.${encode(whole)}`
  return `${body}.${sign(undefined, Buffer.from(body), privateKey).toString('base64url')}`
}

type Part = Partial<Omit<L7PolicyRule, 'http'>> & { http: Partial<HttpCondition>[] }

function ruleOf({ http, ...rest }: Part): L7PolicyRule {
  const whole = http.map((each) => ({ ...HttpCondition.fromPartial({}), ...each }))
  return { ...L7PolicyRule.fromPartial({ peers: [257] }), ...rest, http: whole }
}

const provider: JwtProvider = {
  issuer: 'https://issuer.example',
  audiences: [],
  algorithms: ['EdDSA'],
  clockSkewSeconds: 60,
  keys: { $case: 'inline', value: JSON.stringify({ keys: [jwk] }) },
}

const usual = [
  ruleOf({ http: [{ methods: ['GET'], paths: [{ value: '/public', prefix: true }] }] }),
  ruleOf({
    http: [
      {
        paths: [{ value: '/admin', prefix: true }],
        claims: [{ path: ['role'], values: ['admin'] }],
        providers: [0],
      },
    ],
  }),
]

function guarded(rules: L7PolicyRule[] = usual, more: Partial<L7Policy> = {}): Resource {
  const isolation = 'AccessPolicy shop/web'
  const base = { identity: 400, isolation, shadowIsolation: '', providers: [provider] }
  return {
    name: '400',
    body: { $case: 'l7Policy', value: { ...base, rules, ...more } },
  }
}

const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port, { identity: 400 }),
    service(2, 'open', L7Protocol.HTTP),
    endpoint(2, 'open', backend.port, { identity: 401 }),
    table(2, 'open', {
      hasRoutes: true,
      rules: [rule('/to-web', { web: 1 }), rule('/', { open: 1 })],
    }),
    guarded(),
    Resource.fromPartial({
      name: 'mesh',
      body: { $case: 'settings', value: { accessLog: true } },
    }),
  ],
  ['--log-level', 'info'],
)
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})

const get = async (path: string, headers: Record<string, string> = {}): Promise<Reply> =>
  ask(proxy.port, 1, path, { from: 1, headers })

type Line = Record<string, unknown>
async function lineOf(path: string): Promise<Line> {
  const found = (): Line | undefined =>
    proxy.log
      .map((text) => JSON.parse(text) as Line)
      .find((line) => line['msg'] === 'request' && line['path'] === path)
  await until(() => found() !== undefined, `the access line of ${path}`)
  return found() ?? {}
}

t.test('a request that a rule allows', async (t) => {
  t.equal((await get('/public/x?y')).status, 200)
  t.equal(seen?.url, '/public/x?y')
})

t.test(
  'one that none does: 403, the reason for the client and why for the log',
  async (t) => {
    const reply = await get('/secret')
    t.equal(reply.status, 403)
    t.equal(reply.headers['x-pillion-reason'], 'REQUEST_DENIED')
    t.match(reply.body, /^REQUEST_DENIED: /)
    t.notMatch(reply.body, /shop\/web/, 'how policy is made is not told')
    t.match(await lineOf('/secret'), {
      ...{ status: 403, flag: 'UAEX', why: 'AccessPolicy shop/web', attempts: 0 },
    })
    const post = await ask(proxy.port, 1, '/public', {
      from: 1,
      method: 'POST',
      body: 'x',
    })
    t.equal(post.status, 403)
    t.equal(
      (await ask(proxy.port, 1, '/public', { from: 2 })).status,
      403,
      'another caller',
    )
    t.equal(await proxy.metric('pillion_requests_denied_total'), 3)
  },
)

t.test('spellings of a path', async (t) => {
  seen = undefined
  for (const path of ['/public/../secret', '/public/%2e%2e/secret', '/public//../secret'])
    t.equal((await get(path)).status, 403, path)
  for (const path of ['/public/..;/secret', '/public%2f..%2fsecret', '/public/%00']) {
    const reply = await get(path)
    t.equal(reply.status, 400, path)
    t.equal(reply.headers['x-pillion-reason'], 'PATH_AMBIGUOUS')
  }
  t.equal(seen, undefined, 'nothing of it reached the endpoint')
  t.equal((await get('/x/..//public/%61?q=%2e')).status, 200)
  t.match(seen, { url: '/public/a?q=%2e' }, 'sent as it was decided about')
})

t.test('tokens', async (t) => {
  const bare = await get('/admin')
  t.equal(bare.status, 401)
  t.equal(bare.headers['www-authenticate'], 'Bearer')
  const bad = await get('/admin', { authorization: 'Bearer abc' })
  t.equal(bad.status, 401)
  t.equal(bad.headers['www-authenticate'], 'Bearer error="invalid_token"')
  const bearer = (claims: object): { authorization: string } => ({
    authorization: `Bearer ${tokenOf(claims)}`,
  })
  const user = await get('/admin', bearer({ role: 'user' }))
  t.equal(user.status, 403)
  const admin = bearer({ role: 'admin' })
  t.equal((await get('/admin', admin)).status, 200)
  t.equal((await get('/admin', admin)).status, 200)
  t.equal(seen?.headers['authorization'], admin.authorization)
  t.equal((await get('/admin', bearer({ role: 'admin', exp: 1 }))).status, 401)
  t.equal((await get('/public', { authorization: 'Bearer x' })).status, 401)
  t.equal((await get('/public', { authorization: 'Basic eA==' })).status, 200)
  t.equal(await proxy.metric('pillion_tokens_verifying'), 0)
})

t.test('a client that goes away while its token is verified', async (t) => {
  const active = async (): Promise<number> => proxy.metric('pillion_active_requests')
  const headers = { authorization: `Bearer ${tokenOf({ role: 'admin', jti: 'gone' })}` }
  const aborted = ask(proxy.port, 1, '/admin', {
    ...{ from: 1, headers, signal: AbortSignal.timeout(1) },
  })
  await aborted.catch(() => undefined)
  await until(async () => (await active()) === 0, 'no request in flight')
  t.equal((await get('/admin', headers)).status, 200)
})

t.test('through another service the rules are the same', async (t) => {
  const other = async (path: string): Promise<Reply> =>
    ask(proxy.port, 2, path, { from: 1 })
  t.equal((await other('/to-web')).status, 403)
  t.equal((await other('/to-web/%2f')).status, 400)
  t.equal((await other('/a//b')).status, 200)
  t.equal(seen?.url, '/a//b', 'without rules, slashes stay')
})

t.test('what only the mesh may say', async (t) => {
  await ask(proxy.port, 2, '/', {
    from: 1,
    headers: {
      'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/shop/sa/root',
      'x-envoy-original-path': '/admin',
      'x-pillion-identity': '1',
      'x-forwarded-for': '1.2.3.4',
      'x-other': 'stays',
    },
  })
  const headers = seen?.headers ?? {}
  t.notOk(
    Object.keys(headers).some((name) => /^x-(envoy|pillion)-|client-cert/.test(name)),
  )
  t.equal(headers['x-forwarded-for'], '1.2.3.4, 127.0.1.1')
  t.equal(headers['x-other'], 'stays')
})

t.test('Shadow: recorded and counted, not enforced', async (t) => {
  const rules = [ruleOf({ http: [{ methods: ['PUT'] }], shadow: true })]
  const { error } = await proxy.operator.send([
    guarded(rules, { isolation: '', shadowIsolation: 'AccessPolicy shop/dry' }),
  ])
  t.equal(error, '')
  t.equal((await get('/shadowed')).status, 200)
  t.match(await lineOf('/shadowed'), { status: 200, shadow: 'AccessPolicy shop/dry' })
  t.equal(await proxy.metric('pillion_requests_shadow_denied_total'), 1)
})

t.test('a policy that cannot be expressed is refused, the last one stays', async (t) => {
  const rules = [ruleOf({ text: 'odd', http: [{ providers: [9] }] })]
  const { error } = await proxy.operator.send([guarded(rules)])
  t.match(error, /odd: there is no token provider 9/)
  t.equal((await get('/still')).status, 200)
})
