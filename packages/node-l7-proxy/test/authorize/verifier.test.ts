// SPDX-License-Identifier: Apache-2.0
// Tokens that hold, tokens that do not, and keys that come and go; keys behind an address are served by a real server.
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { JwtProvider } from '@pillion/contract'
import t from 'tap'
import { jwksLimits, parseKeys } from '../../src/authorize/jwks.ts'
import { asymmetricAlgorithms, bearerOf, Verifier } from '../../src/authorize/verifier.ts'
import { listen } from '../support/http.ts'

type Signer = { readonly kid: string; readonly key: KeyObject; readonly jwk: object }

function signer(kid: string): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' }
  return { kid, key: privateKey, jwk }
}

const encode = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url')

const nowMs = 1_800_000_000_000
const nowSeconds = nowMs / 1000
const claims = {
  ...{ iss: 'https://issuer.example', aud: 'shop', sub: 'alice' },
  exp: nowSeconds + 300,
}

function tokenOf({ kid, key }: Signer, more: object = {}, header: object = {}): string {
  const body = `${encode({ alg: 'ES256', kid, ...header })}.${encode({ ...claims, ...more })}`
  const signature = sign('sha256', Buffer.from(body), { key, dsaEncoding: 'ieee-p1363' })
  return `${body}.${signature.toString('base64url')}`
}

function provider(
  keys: JwtProvider['keys'],
  more: Partial<JwtProvider> = {},
): JwtProvider {
  return {
    ...{ issuer: claims.iss, audiences: ['shop'], algorithms: ['ES256', 'RS256'] },
    ...{ clockSkewSeconds: 60, keys, ...more },
  }
}

const one = signer('one')
const two = signer('two')
const set = (...signers: Signer[]): string =>
  JSON.stringify({ keys: signers.map(({ jwk }) => jwk) })
const inline = (...signers: Signer[]): JwtProvider['keys'] => ({
  $case: 'inline',
  value: set(...signers),
})

t.test('what holds and what does not', async (t) => {
  const verifier = new Verifier('', () => nowMs)
  const providers = [provider(inline(one))]
  const why = async (token: string): Promise<string> => {
    const verdict = await verifier.verify(providers, token)
    return verdict.kind === 'invalid' ? verdict.why : verdict.kind
  }
  t.equal(await why(tokenOf(one)), 'valid')
  t.equal(await why(tokenOf(one, { aud: ['x', 'shop'] })), 'valid')
  t.equal(await why(tokenOf(one, { exp: nowSeconds - 59 })), 'valid', 'within the skew')
  t.equal(await why(tokenOf(one, { nbf: nowSeconds + 59 })), 'valid')
  t.match(await why(tokenOf(one, { exp: nowSeconds - 61 })), /"exp"/)
  t.match(await why(tokenOf(one, { nbf: nowSeconds + 61 })), /"nbf"/)
  t.match(await why(tokenOf(one, { exp: undefined })), /"exp"/)
  t.match(await why(tokenOf(one, { aud: 'other' })), /"aud"/)
  t.match(await why(tokenOf(one, { iss: 'https://evil.example' })), /issuer/)
  t.match(await why(tokenOf({ ...two, kid: 'one' })), /signature/, 'wrong key')
  t.match(await why(tokenOf(two)), /key/, 'unknown key')
  t.match(await why('abc'), /not a JWT/)
  t.match(await why(`${tokenOf(one)}x`), /signature/)
  const [head = '', , signature = ''] = tokenOf(one).split('.')
  const forged = encode({ ...claims, sub: 'root' })
  t.match(await why(`${head}.${forged}.${signature}`), /signature/)
})

t.test('confusion of algorithms', async (t) => {
  const weak = ['none', 'HS256', ...asymmetricAlgorithms]
  const providers = [provider(inline(one), { algorithms: weak })]
  const verifier = new Verifier('', () => nowMs)
  const refused = async (token: string, what: string): Promise<void> => {
    t.equal((await verifier.verify(providers, token)).kind, 'invalid', what)
  }
  await refused(`${encode({ alg: 'none' })}.${encode(claims)}.`, 'none')
  await refused(`${encode({ alg: 'NONE', kid: 'one' })}.${encode(claims)}.`, 'NONE')
  const body = `${encode({ alg: 'HS256', kid: 'one' })}.${encode(claims)}`
  for (const secret of [JSON.stringify(one.jwk), set(one), '']) {
    const mac = createHmac('sha256', secret).update(body).digest('base64url')
    await refused(`${body}.${mac}`, 'a public key as the secret of an HMAC')
  }
  await refused(tokenOf(one, {}, { alg: 'RS256' }), 'key of another kind')
  await refused(tokenOf(two, {}, { kid: 'x', jwk: two.jwk }), 'key in the token')
  await refused(
    tokenOf(two, {}, { kid: 'x', jku: 'http://127.0.0.1/' }),
    'address of one',
  )
  await refused(tokenOf(one, {}, { crit: ['exp'] }), 'unknown critical field')
  const octets = { kty: 'oct', k: 'AAAA', kid: 'one' }
  t.throws(() => parseKeys(JSON.stringify({ keys: [octets] })), {
    message: /no public key/,
  })
  t.throws(() => parseKeys('{}'), { message: /no list/ })
})

t.test(
  'keys behind an address: fetched once, rotated, kept through an outage',
  async (t) => {
    let serving = set(one)
    let status = 200
    let hits = 0
    const server = await listen(
      createServer((_request, response) => {
        hits++
        response.writeHead(status, { 'cache-control': 'public, max-age=60' }).end(serving)
      }),
    )
    t.teardown(() => server.close())
    let ms = nowMs
    const verifier = new Verifier('', () => ms)
    const uri = { $case: 'uri', value: `http://127.0.0.1:${server.port}/jwks` } as const
    const providers = [provider(uri)]
    const kind = async (by: Signer, more: object = {}): Promise<string> =>
      (await verifier.verify(providers, tokenOf(by, more))).kind
    const all = await Promise.all([kind(one), kind(one, { a: 1 }), kind(one, { a: 2 })])
    t.strictSame(all, ['valid', 'valid', 'valid'])
    t.equal(hits, 1, 'who asks at once shares the answer')

    serving = set(two)
    t.equal(await kind(two), 'valid', 'an unknown key is looked for at once')
    t.equal(hits, 2)
    t.equal(await kind(one), 'invalid', 'a withdrawn one ends')
    t.equal(await kind(signer('three')), 'invalid')
    t.equal(hits, 2, 'but unknown keys cannot make us ask again and again')
    ms += jwksLimits.minIntervalMs
    t.equal(await kind(signer('three')), 'invalid')
    t.equal(hits, 3)

    ms += 60_000
    status = 500
    t.equal(await kind(two, { b: 1 }), 'valid', 'old keys hold while their server fails')
    t.equal(hits, 4)
    t.match(Object.values(verifier.problems()), [/status 500/])
    t.equal(await kind(two, { b: 2 }), 'valid')
    t.equal(hits, 4, 'a failure is not repeated at once')
    status = 200
    ms += jwksLimits.minIntervalMs
    t.equal(await kind(two, { b: 3 }), 'valid')
    t.equal(hits, 5)
    t.strictSame(Object.values(verifier.problems()), [''])
  },
)

t.test('bounds of what a key server says', async (t) => {
  let answer: string = 'x'.repeat(jwksLimits.maxBytes + 1)
  const server = await listen(
    createServer((_request, response) => {
      if (answer === 'redirect')
        response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()
      else response.end(answer)
    }),
  )
  t.teardown(() => server.close())
  const problem = async (value: string): Promise<string | undefined> => {
    const verifier = new Verifier('', () => nowMs)
    const verdict = await verifier.verify(
      [provider({ $case: 'uri', value })],
      tokenOf(one),
    )
    t.match(verdict, { kind: 'invalid', why: /no keys/ })
    return Object.values(verifier.problems())[0]
  }
  const uri = `http://127.0.0.1:${server.port}/`
  t.match(await problem(uri), /longer than/)
  answer = 'redirect'
  t.match(await problem(uri), /status 302/)
  answer = '<html>'
  t.match(await problem(uri), /JSON/)
  t.match(await problem('http://127.0.0.1:1/'), /ECONNREFUSED/)
})

t.test('keys in a file of one directory', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'pillion-jwks-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true })
  })
  writeFileSync(join(directory, 'issuer.json'), set(one))
  let ms = nowMs
  const verifier = new Verifier(directory, () => ms)
  const providers = [provider({ $case: 'file', value: 'issuer.json' })]
  t.equal((await verifier.verify(providers, tokenOf(one))).kind, 'valid')
  writeFileSync(join(directory, 'issuer.json'), set(two))
  ms += jwksLimits.minIntervalMs
  t.equal((await verifier.verify(providers, tokenOf(two))).kind, 'valid')
  for (const value of ['../issuer.json', '/etc/passwd', '..', '']) {
    const verdict = await verifier.verify(
      [provider({ $case: 'file', value })],
      tokenOf(one),
    )
    t.match(verdict, { kind: 'invalid', why: /no file name/ })
  }
  const without = new Verifier('', () => nowMs)
  t.match(await without.verify(providers, tokenOf(one)), { why: /--jwks-dir/ })
})

t.test('a token that was verified is known for a while', async (t) => {
  let ms = nowMs
  const verifier = new Verifier('', () => ms)
  const providers = [provider(inline(one))]
  const token = tokenOf(one)
  t.equal(verifier.known(providers, token), undefined)
  await verifier.verify(providers, token)
  t.match(verifier.known(providers, token), { kind: 'valid' })
  const others = [provider(inline(one), { audiences: ['other'] })]
  t.equal(verifier.known(others, token), undefined, 'not for other providers')
  ms += 60_000
  t.equal(verifier.known(providers, token), undefined)
  const ending = tokenOf(one, { exp: ms / 1000 - 55 })
  await verifier.verify(providers, ending)
  ms += 5_000
  t.equal(verifier.known(providers, ending), undefined, 'never beyond its end')
  t.match(verifier.known(providers, 'x'.repeat(8193)), { kind: 'invalid' })
  t.match(verifier.known(providers, undefined), { kind: 'none' })
})

t.test('where the token is', (t) => {
  t.equal(bearerOf(['authorization', 'Bearer abc']), 'abc')
  t.equal(bearerOf(['authorization', 'bearer  abc']), 'abc')
  t.equal(bearerOf(['authorization', 'Basic abc']), undefined)
  t.equal(bearerOf([]), undefined)
  t.equal(
    bearerOf(['authorization', 'Bearer a', 'authorization', 'Bearer b']),
    'a,Bearer b',
  )
  t.end()
})
