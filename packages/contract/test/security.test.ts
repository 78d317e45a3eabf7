// SPDX-License-Identifier: Apache-2.0
// TLS and tokens against a real gRPC server on loopback; every trouble is a state that says which file and what to do.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ServerDuplexStream,
} from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { Authority } from '../../../test/support/apiserver/certificate.ts'
import {
  isLocalAddress,
  NodeConfigService,
  Role,
  securityOptions,
  subscribe,
  tellTrouble,
  type Delta,
  type SecurityOptions,
  type SubscriptionState,
  type WatchRequest,
} from '../src/index.ts'

type Call = ServerDuplexStream<WatchRequest, Delta>

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`)
    await sleep(5)
  }
}

const authority = new Authority()

/** A server that accepts each hello, and notes what came with it. */
async function serve(t: Test, isTls = true) {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-security-'))
  const seen: (string | undefined)[] = []
  const calls: Call[] = []
  const server = new Server()
  server.addService(NodeConfigService, {
    watch: (call: Call) => {
      call.on('error', () => undefined)
      call.on('data', () => undefined)
      seen.push(call.metadata.get('authorization')[0]?.toString())
      calls.push(call)
      if (seen.at(-1) === 'Bearer bad') {
        call.emit('error', { code: status.UNAUTHENTICATED, details: 'the token expired' })
      } else call.sendMetadata(new Metadata())
    },
  })
  const { cert, key } = authority.serverCertificate()
  const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }
  const credentials = isTls
    ? ServerCredentials.createSsl(null, [pair])
    : ServerCredentials.createInsecure()
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  )
  t.teardown(() => {
    server.forceShutdown()
    rmSync(dir, { recursive: true })
  })
  const file = (name: string, text: string): string => {
    const path = join(dir, name)
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
    return path
  }
  return { port, seen, calls, file, dir }
}

function watch(t: Test, security: SecurityOptions) {
  const states: SubscriptionState[] = []
  const subscription = subscribe({
    ...security,
    ...{ node: 'node-1', role: Role.AGENT, backoffMinMs: 5, backoffMaxMs: 20 },
    onUpdate: () => undefined,
    onState: (state) => states.push(state),
  })
  t.teardown(() => subscription.close())
  const error = async (): Promise<string> => {
    const found = () => states.find((state) => state.kind === 'waiting')
    await until('an error', () => found() !== undefined)
    return found()?.error ?? ''
  }
  return { states, error }
}

t.test('the token goes over TLS, and is read anew for each session', async (t) => {
  const { port, seen, calls, file } = await serve(t)
  const caFile = file('ca.crt', authority.cert)
  const tokenFile = file('token', 'one\n')
  watch(t, { address: `localhost:${port}`, tls: { caFile }, tokenFile })
  await until('the first session', () => seen.length === 1)
  file('token', 'two')
  calls[0]?.end()
  await until('the second session', () => seen.length >= 2)
  t.same(seen.slice(0, 2), ['Bearer one', 'Bearer two'])
})

t.test('a CA that is replaced is taken at the next attempt', async (t) => {
  const { port, seen, file } = await serve(t)
  const caFile = file('ca.crt', new Authority().cert)
  const { error } = watch(t, { address: `localhost:${port}`, tls: { caFile } })
  t.match(await error(), new RegExp(`certificate.*CA of ${caFile}`))
  t.equal(seen.length, 0)
  file('ca.crt', authority.cert)
  await until('a session', () => seen.length > 0)
})

t.test('the server must have the name that is asked for', async (t) => {
  const { port, seen, file } = await serve(t)
  const caFile = file('ca.crt', authority.cert)
  const address = `localhost:${port}`
  const wrong = watch(t, {
    address,
    tls: { caFile, serverName: 'pillion-operator.x.svc' },
  })
  t.match(await wrong.error(), /altnames.*must be for pillion-operator\.x\.svc/)
  t.equal(seen.length, 0)
  watch(t, { address, tls: { caFile, serverName: 'localhost' } })
  await until('a session', () => seen.length === 1)
})

t.test('a refused token is told with its file and never with its text', async (t) => {
  const { port, file } = await serve(t)
  const caFile = file('ca.crt', authority.cert)
  const tokenFile = file('token', 'bad')
  const { error } = watch(t, { address: `localhost:${port}`, tls: { caFile }, tokenFile })
  t.match(await error(), `UNAUTHENTICATED: the token expired (token of ${tokenFile})`)
})

t.test('files that cannot be used are named, with what to do', async (t) => {
  const { port, file, dir } = await serve(t)
  const caFile = file('ca.crt', authority.cert)
  const address = `localhost:${port}`
  const errorOf = (security: Omit<SecurityOptions, 'address'>): Promise<string> =>
    watch(t, { address, ...security }).error()
  t.match(
    await errorOf({ tls: { caFile: `${dir}/no` } }),
    /no: .*ENOENT.*pillion-ca mounted\?$/,
  )
  t.match(await errorOf({ tls: { caFile: file('x', 'x') } }), /x: no certificate/)
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  t.match(await errorOf({ tls: { caFile: file('y', broken) } }), /y: not usable as a CA/)
  const tls = { caFile }
  t.match(await errorOf({ tls, tokenFile: `${dir}/no` }), /no: the token.*ENOENT/)
  t.match(await errorOf({ tls, tokenFile: file('e', '\n') }), /e: the token is empty/)
  const secret = 'secret\r\nx-header: y'
  const refusal = await errorOf({ tls, tokenFile: file('s', secret) })
  t.match(refusal, /s: not a token/)
  t.notMatch(refusal, 'secret')
  t.match(await errorOf({ tls, tokenFile: file('l', 'x'.repeat(9000)) }), /at most 8192/)
})

t.test('without TLS nothing leaves the machine, and no token is sent', async (t) => {
  const { port, seen, file } = await serve(t, false)
  const tokenFile = file('token', 'one')
  // 192.0.2.1 (RFC 5737) answers nobody: the refusal comes before any connection.
  const far = watch(t, { address: '192.0.2.1:1', tokenFile })
  t.match(await far.error(), /192\.0\.2\.1:1 .*a token goes over TLS only.*--operator-ca/)
  t.match(await watch(t, { address: 'operator.x:1' }).error(), /configuration goes over/)
  watch(t, { address: `127.0.0.1:${port}`, tokenFile })
  await until('a session on loopback', () => seen.length === 1)
  t.equal(seen[0], undefined)
})

t.test('addresses that stay on this machine', async (t) => {
  for (const address of [
    'unix:/x',
    '127.0.0.1:1',
    '127.9.9.9:1',
    '[::1]:1',
    'localhost:1',
  ])
    t.equal(isLocalAddress(address), true, address)
  for (const address of [
    '10.0.0.1:1',
    '[::]:1',
    '0.0.0.0:1',
    '[2001:db8::1]:1',
    'a.svc:1',
  ])
    t.equal(isLocalAddress(address), false, address)
})

t.test('options that are empty are not given', async (t) => {
  const none = { operatorCa: '', operatorToken: '', operatorServerName: '' }
  t.same(securityOptions({ operator: 'unix:/x', ...none }), { address: 'unix:/x' })
  t.same(
    securityOptions({
      operator: 'a:1',
      operatorCa: '/ca',
      operatorToken: '/token',
      operatorServerName: 'b',
    }),
    { address: 'a:1', tls: { caFile: '/ca', serverName: 'b' }, tokenFile: '/token' },
  )
})

t.test('a trouble is told once until configuration flows again', async (t) => {
  const told: string[] = []
  const onState = tellTrouble((error) => told.push(error))
  const wait = (error: string): void => onState({ kind: 'waiting', delayMs: 1, error })
  wait('the operator ended the stream')
  wait('a')
  wait('a')
  wait('b')
  onState({ kind: 'streaming', version: 1, epoch: 'e', refused: undefined })
  wait('the operator ended the stream')
  wait('b')
  t.same(told, ['a', 'b', 'b'])
})
