// SPDX-License-Identifier: Apache-2.0
// Filters of users beside policy: they see only what is allowed, and what they make of it is judged again.
import { generateKeyPairSync, sign } from 'node:crypto'
import { HttpCondition, L7PolicyRule, L7Protocol, Resource } from '@pillion/contract'
import t from 'tap'
import { filter, mountConfigMap } from '../support/filters.ts'
import { ask, httpBackend, type Reply } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, service, table } from '../support/resources.ts'

const backend = await httpBackend((request, response) => {
  response.end(JSON.stringify(request.headers))
})
const mounted = mountConfigMap({
  'role.mjs': `
    let calls = 0
    export default { onRequest({ headers, path }, { source }) {
      calls++
      if (path === '/calls') return { status: 200, body: String(calls) }
      if (path === '/strip') headers.remove('x-role')
      else headers.set('x-seen-by', [source.namespace, source.serviceAccount].join('/'))
      if (path === '/raise') headers.set('x-role', 'admin')
    } }`,
  'token.mjs': `
    export default { onRequest({ headers, path }) {
      if (path === '/forget') headers.remove('authorization')
      if (path === '/swap') headers.set('authorization', headers.get('x-other'))
    } }`,
})
const rule = {
  ...L7PolicyRule.fromPartial({ peers: [257] }),
  http: [{ headers: [{ name: 'x-role', values: ['admin'] }] }],
}

const issuer = 'https://issuer.example'
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'EdDSA' }
const encode = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url')
function bearer(claims: object): string {
  const whole = { iss: issuer, exp: Math.floor(Date.now() / 1000) + 60, ...claims }
  const body = `${encode({ alg: 'EdDSA', kid: 'k' })}.${encode(whole)}`
  const signature = sign(undefined, Buffer.from(body), privateKey).toString('base64url')
  return `Bearer ${body}.${signature}`
}
const claims = [{ path: ['role'], values: ['admin', 'user'] }]
const tokenRule = {
  ...L7PolicyRule.fromPartial({ peers: [257] }),
  http: [{ ...HttpCondition.fromPartial({}), claims, providers: [0] }],
}
const keys = { $case: 'inline', value: JSON.stringify({ keys: [jwk] }) } as const
const provider = {
  issuer,
  audiences: [],
  algorithms: ['EdDSA'],
  clockSkewSeconds: 60,
  keys,
}

const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port, { identity: 400 }),
    table(1, 'web', { filters: [filter('role')] }),
    service(2, 'tokens', L7Protocol.HTTP),
    endpoint(2, 'tokens', backend.port, { identity: 401 }),
    table(2, 'tokens', { filters: [filter('token')] }),
    Resource.fromPartial({
      name: '401',
      body: {
        $case: 'l7Policy',
        value: {
          ...{ identity: 401, isolation: 'AccessPolicy shop/tokens' },
          ...{ providers: [provider], rules: [tokenRule] },
        },
      },
    }),
    Resource.fromPartial({
      name: '400',
      body: {
        $case: 'l7Policy',
        value: { identity: 400, isolation: 'AccessPolicy shop/web', rules: [rule] },
      },
    }),
    Resource.fromPartial({
      name: '257',
      body: {
        $case: 'identity',
        value: { id: 257, namespace: 'shop', serviceAccount: 'client' },
      },
    }),
  ],
  ['--filters-dir', mounted.path],
)
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
  mounted.remove()
})

const get = async (path: string, role: string): Promise<Reply> =>
  ask(proxy.port, 1, path, { from: 1, headers: { 'x-role': role } })

t.test('what policy refuses no filter sees, and none can talk it round', async (t) => {
  t.match(await get('/raise', 'guest'), { status: 403 })
  t.match(await get('/', 'guest'), { status: 403 })
  t.match(await get('/calls', 'guest'), { status: 403 })
  t.equal((await get('/calls', 'admin')).body, '1', 'the first request that it saw')
})

t.test('what is allowed is judged again as the endpoint would get it', async (t) => {
  const allowed = await get('/', 'admin')
  t.equal(allowed.status, 200)
  t.match(JSON.parse(allowed.body), { 'x-seen-by': 'shop/client' })
  t.match(await get('/strip', 'admin'), {
    status: 403,
    headers: { 'x-pillion-reason': 'REQUEST_DENIED' },
  })
})

t.test(
  'a token is that of the request as it goes out, also when it had to be verified first',
  async (t) => {
    const send = async (path: string, headers: Record<string, string>): Promise<Reply> =>
      ask(proxy.port, 2, path, { from: 1, headers })
    const forget = { authorization: bearer({ role: 'admin', jti: 'forget' }) }
    for (const which of ['verified now', 'remembered'])
      t.match(
        await send('/forget', forget),
        { status: 401, headers: { 'x-pillion-reason': 'TOKEN_MISSING' } },
        which,
      )
    const swaps = [
      [bearer({ role: 'user' }), 200],
      [bearer({ role: 'nobody' }), 403],
      ['Bearer x', 401],
    ] as const
    for (const [other, status] of swaps) {
      const swap = {
        authorization: bearer({ role: 'admin', jti: other }),
        'x-other': other,
      }
      t.equal((await send('/swap', swap)).status, status, 'verified now')
      t.equal((await send('/swap', swap)).status, status, 'remembered')
    }
  },
)
