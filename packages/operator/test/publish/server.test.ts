// SPDX-License-Identifier: Apache-2.0
// Streams over TLS with tokens, as they are in a cluster: real gRPC on loopback, the subscription of agents and proxies at
// the other end.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as http2Connect } from 'node:http2'
import { connect as tcpConnect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import {
  credentials as grpcCredentials,
  Metadata,
  status,
  type ServiceError,
} from '@grpc/grpc-js'
import {
  contractVersion,
  NodeConfigClient,
  Role,
  subscribe,
  type Changes,
  type Hello,
  type SubscriptionState,
} from '@pillion/contract'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { AuthError, type Authenticate } from '../../src/publish/authenticate.ts'
import { caLimits, renew, type Bundle } from '../../src/publish/ca.ts'
import { Certificates } from '../../src/publish/certificates.ts'
import { PublishMetrics } from '../../src/publish/metrics.ts'
import { Publisher } from '../../src/publish/publisher.ts'
import { serve, serverLimits, type ServeOptions } from '../../src/publish/server.ts'
import { compileYaml, node, pod, service, slice } from '../support/objects.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { until } from '../support/running.ts'

const serverName = 'pillion-operator.pillion.svc'
const names = [serverName]
const objects = (...ips: string[]) =>
  compileYaml(
    node('node-1', '10.0.0.1') +
      node('node-2', '10.0.0.2') +
      pod('shop', 'web', '10.244.1.2') +
      service('shop', 'web', '10.96.0.1') +
      slice('shop', 'web', ips),
  )
const nodes = new Set(['node-1', 'node-2'])

/** Tokens name their node: "node-1 anything". */
const authenticate: Authenticate = async (token) => {
  const [, name] = /^token-of-(node-\d)/.exec(token ?? '') ?? []
  if (name === undefined)
    throw new AuthError(status.UNAUTHENTICATED, 'not a token of ours')
  return { node: name, podName: `pillion-node-${name}`, serviceAccount: 'pillion/n' }
}

interface Setup {
  readonly limits?: ServeOptions['limits']
  readonly auth?: Authenticate
  /** What is stored before the operator starts, and when it starts. */
  readonly seed?: Bundle
  readonly at?: number
}

async function start(
  t: Test,
  { limits = {}, auth = authenticate, ...setup }: Setup = {},
) {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-publish-'))
  const registry = new Registry()
  const metrics = new PublishMetrics(registry)
  const store = new MemoryStore()
  const clock = { ms: setup.at ?? Date.now() }
  if (setup.seed !== undefined) store.stored = { bundle: setup.seed, version: '' }
  const errors: string[] = []
  const certificates = new Certificates({
    ...{ store, metrics, names, isLeader: () => true },
    ...{ onError: (error) => errors.push(error), now: () => clock.ms },
  })
  await certificates.start()
  t.same(errors, [])
  const publisher = new Publisher({ nackRetryMs: 60_000, onChange: () => undefined })
  publisher.publish(objects('10.244.1.2'), nodes)
  const tls = certificates.credentials
  const options = { tls, authenticate: auth, limits, metrics }
  const server = await serve('127.0.0.1:0', publisher, options)
  const caFile = join(dir, 'ca.crt')
  writeFileSync(caFile, store.trust)
  t.teardown(async () => {
    await certificates.close()
    server.close()
    rmSync(dir, { recursive: true })
  })
  const tokenFile = (token: string): string => {
    const file = join(dir, token)
    writeFileSync(file, token)
    return file
  }
  const address = `localhost:${server.port}`
  const subscribeTo = (nodeName: string, token: string, role: Role = Role.AGENT) => {
    const states: SubscriptionState[] = []
    const updates: Changes[] = []
    const subscription = subscribe({
      ...{ address, tls: { caFile, serverName }, tokenFile: tokenFile(token) },
      ...{ node: nodeName, role, mapLayout: 'layout-1' },
      ...{ backoffMinMs: 5, backoffMaxMs: 20 },
      onUpdate: (_, changes) => {
        updates.push(changes)
      },
      onState: (state) => states.push(state),
    })
    t.teardown(() => subscription.close())
    const error = async (): Promise<string> => {
      const waiting = () => states.find((state) => state.kind === 'waiting')
      await until('a refusal', () => waiting() !== undefined)
      return waiting()?.error ?? ''
    }
    return { subscription, states, updates, error }
  }
  /** Value of a metric with its labels; undefined: never counted. */
  const metric = async (name: string): Promise<number | undefined> => {
    const lines = (await registry.metrics()).split('\n')
    const line = lines.find((each) => each.startsWith(`${name} `))
    return line === undefined ? undefined : Number(line.slice(name.length))
  }
  return {
    ...{ address, port: server.port, caFile, publisher, certificates, store, clock },
    ...{ join: subscribeTo, metric },
  }
}

t.test('a token of its node opens a stream; status knows what it runs', async (t) => {
  const { join, publisher, metric } = await start(t)
  const agent = join('node-1', 'token-of-node-1')
  const proxy = join('node-1', 'token-of-node-1', Role.PROXY)
  for (const { subscription } of [agent, proxy])
    await until('streaming', () => subscription.state().kind === 'streaming')
  await until('acknowledged', () => publisher.status().every(({ current }) => current))
  t.match(publisher.status(), [
    { node: 'node-1', role: 'agent', connected: true, mapLayout: 'layout-1' },
    { node: 'node-1', role: 'proxy', connected: true },
  ])
  t.equal(await metric('pillion_operator_streams'), 2)
})

t.test('a token of another node is refused, and nothing is sent', async (t) => {
  const { join, publisher, metric } = await start(t)
  const { error, updates } = join('node-1', 'token-of-node-2')
  t.match(
    await error(),
    /PERMISSION_DENIED: the token is of pod pillion-node-node-2 on node node-2, and the hello asks for node node-1/,
  )
  t.same(updates, [])
  t.same(publisher.status(), [])
  const refusals = 'pillion_operator_streams_refused_total{code="PERMISSION_DENIED"}'
  t.ok(((await metric(refusals)) ?? 0) > 0)
})

t.test('a bad token is refused; the text names the file, not the token', async (t) => {
  const { join, address, caFile } = await start(t)
  const text = await join('node-1', 'rubbish-sesame').error()
  t.match(text, /UNAUTHENTICATED: not a token of ours \(token of .*rubbish-sesame\)/)
  const states: SubscriptionState[] = []
  const none = subscribe({
    ...{ address, tls: { caFile, serverName }, node: 'node-1', role: Role.AGENT },
    onUpdate: () => undefined,
    onState: (state) => states.push(state),
  })
  t.teardown(() => none.close())
  await until('refused', () => states.some((state) => state.kind === 'waiting'))
  t.match(
    states.find((state) => state.kind === 'waiting'),
    { error: /UNAUTHENTICATED.*--operator-token/ },
  )
})

/** Fingerprint of the certificate that a new handshake gets. */
function served(port: number, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const target = { port, host: '127.0.0.1', servername: serverName, ca }
    const socket = tlsConnect(target, () => {
      resolve(`${socket.getProtocol()} ${socket.getPeerCertificate().fingerprint256}`)
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

t.test('a certificate is renewed while streams go on', async (t) => {
  const seed = renew(undefined, names, Date.now() - caLimits.servingRenewMs)
  const at = Date.now() - 60_000
  const { join, port, store, clock, certificates, publisher, metric } = await start(t, {
    seed,
    at,
  })
  const { subscription, states, updates } = join('node-1', 'token-of-node-1')
  await until('streaming', () => subscription.state().kind === 'streaming')
  const before = await served(port, store.trust)
  t.match(before, /^TLSv1\.3 /)
  clock.ms = Date.now()
  await certificates.refresh()
  t.not(await served(port, store.trust), before, 'new handshakes see the new one')
  publisher.publish(objects('10.244.1.2', '10.244.1.3'), nodes)
  await until('the change', () => updates.length === 2)
  t.notOk(
    states.some(({ kind }) => kind === 'waiting'),
    'the same stream',
  )
  const renewals = 'pillion_operator_certificate_renewals_total{result="renewed"}'
  t.equal(await metric(renewals), 2)
})

t.test('a CA is replaced while streams go on', async (t) => {
  const { caMs, caRenewMs, overlapMs } = caLimits
  const made = Date.now() - overlapMs - (caMs - caRenewMs) - 60_000
  const seed = renew(renew(undefined, names, made), names, Date.now() - 2 * overlapMs)
  const at = Date.now() - overlapMs
  const { join, port, caFile, store, clock, certificates } = await start(t, { seed, at })
  const both = store.trust
  t.equal(both, seed.ca.cert + (store.stored?.bundle.next?.cert ?? ''))
  const { subscription, states } = join('node-1', 'token-of-node-1')
  await until('streaming', () => subscription.state().kind === 'streaming')
  clock.ms = Date.now()
  await certificates.refresh()
  t.equal(store.stored?.bundle.previous, seed.ca.cert, 'the new one signs')
  t.ok(await served(port, both), 'trusted by who read the bundle before')
  await t.rejects(served(port, seed.ca.cert))
  const late = join('node-2', 'token-of-node-2')
  await until('a new node', () => late.subscription.state().kind === 'streaming')
  t.notOk(states.some(({ kind }) => kind === 'waiting'))
  // Two CAs of one name are told apart by their keys.
  const twin = renew(undefined, names, at).ca.cert
  t.ok(await served(port, twin + store.trust))
  writeFileSync(caFile, twin)
  t.match(await join('node-1', 'token-of-node-1').error(), /certificate/)
})

t.test('TLS 1.2 is refused', async (t) => {
  const { port, store } = await start(t)
  const error = await new Promise<NodeJS.ErrnoException>((resolve) => {
    const old = { maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' } as const
    const target = { port, host: '127.0.0.1', servername: serverName, ca: store.trust }
    tlsConnect({ ...target, ...old }).on('error', resolve)
  })
  t.match(error.code, /PROTOCOL_VERSION/)
})

t.test('a stream ends at its age, and the next one goes on with a delta', async (t) => {
  const limits = { maxAgeMs: 200 }
  const { join, publisher, metric } = await start(t, { limits })
  const { subscription, states, updates } = join('node-1', 'token-of-node-1')
  const sessions = () => states.filter(({ kind }) => kind === 'connecting').length
  await until('streaming', () => subscription.state().kind === 'streaming')
  await until('the third session', () => sessions() >= 3)
  t.equal(updates.length, 1, 'nothing is sent again')
  t.match(
    states.filter((state) => state.kind === 'waiting').map(({ error }) => error)[0],
    'the operator ended the stream',
  )
  await until('streaming again', () => subscription.state().kind === 'streaming')
  t.notOk(
    states.some((state) => state.kind === 'connecting' && state.attempt > 2),
    'an ended stream is no failure: waits do not grow',
  )
  publisher.publish(objects('10.244.1.2', '10.244.1.3'), nodes)
  await until('the change', () => updates.length > 1)
  const changed = [...(updates[1] ?? [])].map(([kind, names]) => [kind, [...names]])
  t.same(changed, [['endpoint', ['shop/web:80/TCP|10.244.1.3:8080']]])
  t.ok(((await metric('pillion_operator_streams_aged_total')) ?? 0) >= 2)
})

t.test('a token that is revoked loses its stream at the age', async (t) => {
  let isValid = true
  const auth: Authenticate = async (token, peer) => {
    if (isValid) return authenticate(token, peer)
    throw new AuthError(status.UNAUTHENTICATED, 'the token has been revoked')
  }
  const { join } = await start(t, { limits: { maxAgeMs: 100 }, auth })
  const { subscription, states } = join('node-1', 'token-of-node-1')
  await until('streaming', () => subscription.state().kind === 'streaming')
  isValid = false
  const isRefused = (state: SubscriptionState): boolean =>
    state.kind === 'waiting' && state.error.includes('the token has been revoked')
  await until('refused', () => states.some(isRefused))
})

t.test(
  'a stream that says nothing, and a token that nobody looks at, hold no place',
  async (t) => {
    const limits = { helloMs: 50 }
    const never: Authenticate = () => new Promise(() => undefined)
    for (const auth of [authenticate, never]) {
      const { address, store, metric } = await start(t, { limits, auth })
      const trust = grpcCredentials.createSsl(Buffer.from(store.trust))
      const client = new NodeConfigClient(address, trust, {
        'grpc.ssl_target_name_override': serverName,
      })
      t.teardown(() => client.close())
      const metadata = new Metadata()
      metadata.set('authorization', 'Bearer token-of-node-1')
      const stream = client.watch(metadata)
      stream.on('data', () => t.fail('nothing is sent'))
      const error = await new Promise<ServiceError>((resolve) =>
        stream.on('error', resolve),
      )
      t.equal(error.code, status.DEADLINE_EXCEEDED)
      const isFree = async () => (await metric('pillion_operator_streams')) === 0
      await until('its place is free', isFree)
    }
  },
)

t.test('a connection without a stream is closed, and has room for few', async (t) => {
  const { port, store } = await start(t, { limits: { idleConnectionMs: 50 } })
  const target = { servername: serverName, ca: store.trust }
  const session = http2Connect(`https://127.0.0.1:${port}`, target)
  session.on('error', () => undefined)
  await new Promise((resolve) => session.once('remoteSettings', resolve))
  t.equal(
    session.remoteSettings.maxConcurrentStreams,
    serverLimits.maxStreamsOfConnection,
  )
  await new Promise((resolve) => session.once('close', resolve))
})

t.test('a client of another contract is told both versions', async (t) => {
  const { address, store } = await start(t)
  const trust = grpcCredentials.createSsl(Buffer.from(store.trust))
  const client = new NodeConfigClient(address, trust, {
    'grpc.ssl_target_name_override': serverName,
  })
  t.teardown(() => client.close())
  const metadata = new Metadata()
  metadata.set('authorization', 'Bearer token-of-node-1')
  const stream = client.watch(metadata)
  const value: Hello = {
    ...{
      node: 'node-1',
      role: Role.AGENT,
      softwareVersion: '9.9.9',
      contractVersion: 99,
    },
    ...{
      resumeVersion: 0,
      resumeEpoch: '',
      mapLayout: '',
      summary: undefined,
      degraded: [],
    },
  }
  stream.write({ message: { $case: 'hello', value } })
  stream.on('data', () => t.fail('nothing is sent'))
  const error = await new Promise<ServiceError>((resolve) => stream.on('error', resolve))
  t.equal(error.code, status.FAILED_PRECONDITION)
  t.match(error.details, /contract version 99 \(software 9\.9\.9\)/)
  t.match(error.details, `which speaks ${contractVersion}`)
})

t.test(
  'plain TCP reaches nothing on a TLS port, and no port of the network',
  async (t) => {
    const { port, publisher } = await start(t)
    await new Promise<void>((resolve) => {
      const socket = tcpConnect(port, '127.0.0.1', () =>
        socket.write('PRI * HTTP/2.0\r\n\r\n'),
      )
      socket.on('data', () => undefined)
      socket.on('error', () => undefined).on('close', () => resolve())
    })
    await t.rejects(serve('0.0.0.0:0', publisher), {
      code: 'LISTEN',
      message: /needs TLS and tokens/,
    })
    await t.rejects(serve('0.0.0.0:0', publisher, { authenticate }), { code: 'LISTEN' })
  },
)
