// SPDX-License-Identifier: Apache-2.0
// Fail-over and restart, over real gRPC and a relay that counts bytes: what nodes that come back are sent, how many at once,
// and what becomes of one that does not read.
import { connect as http2Connect } from 'node:http2'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import {
  contractVersion,
  Role,
  subscribe,
  WatchRequest,
  type Changes,
  type Resources,
} from '@pillion/contract'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { cluster, slice } from '../../bench/objects.ts'
import { compile, emptyPools, type Compiled } from '../../src/compile/compile.ts'
import { ObjectIndex } from '../../src/index/objects.ts'
import { PublishMetrics } from '../../src/publish/metrics.ts'
import { Publisher } from '../../src/publish/publisher.ts'
import { serve } from '../../src/publish/server.ts'
import { until } from '../support/running.ts'

const size = { services: 40, endpoints: 15, nodes: 12 }
const nodes = Array.from({ length: size.nodes }, (_, n) => `node-${n}`)

/** Compiled from nothing, as a replica does; the first endpoints of `changed` services have other addresses. */
function compiled(changed = 0): Compiled {
  const index = new ObjectIndex()
  index.apply({ upserts: cluster(size), removals: [], errors: [] })
  const marked = Array.from({ length: changed }, (_, n) => slice(size, n, n))
  index.apply({ upserts: marked, removals: [], errors: [] })
  return compile(index.snapshot(), emptyPools())
}

async function replica(t: Test, content: Compiled, largeDeltas = 8, takeMs = 60_000) {
  const registry = new Registry()
  const metrics = new PublishMetrics(registry)
  const publisher = new Publisher({
    ...{ nackRetryMs: 60_000, largeDeltas, onChange: () => undefined },
  })
  publisher.publish(content, new Set(nodes))
  const server = await serve('127.0.0.1:0', publisher, { metrics, limits: { takeMs } })
  t.teardown(() => server.close())
  const isCurrent = (): boolean => {
    const status = publisher.status()
    return status.length > 0 && status.every(({ current }) => current)
  }
  return { port: server.port, publisher, registry, isCurrent }
}

/** Leads to whatever replica is there; counts what nodes receive. */
async function relay(t: Test, first: number) {
  const state = { target: first, bytesDown: 0 }
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(state.target, '127.0.0.1')
    upstream.on('data', (bytes) => (state.bytesDown += bytes.length))
    client.pipe(upstream).pipe(client)
    for (const [socket, other] of [
      [client, upstream] as const,
      [upstream, client] as const,
    ]) {
      open.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = (): void => {
    for (const socket of open) socket.destroy()
  }
  t.teardown(() => {
    server.close()
    cut()
  })
  const failOver = (port: number): void => {
    Object.assign(state, { target: port, bytesDown: 0 })
    cut()
  }
  return { state, failOver, port: (server.address() as AddressInfo).port }
}

function join(t: Test, port: number, node: string, initial?: Resources) {
  const updates: Changes[] = []
  const subscription = subscribe({
    ...{ address: `127.0.0.1:${port}`, node, role: Role.AGENT, initial },
    ...{ backoffMinMs: 5, backoffMaxMs: 50 },
    onUpdate: (_, changes) => void updates.push(changes),
  })
  t.teardown(() => subscription.close())
  return { subscription, updates }
}

t.test('another replica with the same objects sends next to nothing', async (t) => {
  const a = await replica(t, compiled())
  const { state, failOver, port } = await relay(t, a.port)
  const { subscription, updates } = join(t, port, 'node-1')
  await until('current', a.isCurrent)
  t.ok(state.bytesDown > 100_000, `everything is ${state.bytesDown} bytes`)
  const held = subscription.resources()
  const b = await replica(t, compiled())
  failOver(b.port)
  await until('current again', b.isCurrent)
  t.ok(state.bytesDown < 1000, `${state.bytesDown} bytes, HTTP/2 and gRPC included`)
  t.equal(updates.length, 1)
  t.match(subscription.state(), { kind: 'streaming', epoch: b.publisher.epoch })
  t.match(
    await b.registry.metrics(),
    /pillion_operator_streams_started_total\{from="summary"\} 1\n/,
  )
  b.publisher.publish(compiled(1), new Set(nodes))
  await until('a change', () => updates.length === 2)
  t.ok(state.bytesDown < 10_000, 'and then what changes, as ever')
  const restarted = join(t, b.port, 'node-1', held)
  await until('current', () => restarted.subscription.state().kind === 'streaming')
  await until('its change', () => restarted.updates.length === 1)
  t.same(restarted.updates[0], updates[1], 'an agent that restarts needs no more')
})

t.test(
  'what changed while a node was away, and only that, is changed there',
  async (t) => {
    const a = await replica(t, compiled())
    const { state, failOver, port } = await relay(t, a.port)
    const { subscription, updates } = join(t, port, 'node-1')
    await until('current', a.isCurrent)
    const all = state.bytesDown
    const b = await replica(t, compiled(2))
    failOver(b.port)
    await until('current again', b.isCurrent)
    t.equal(updates.length, 2)
    const names = (service: number, ip: string) =>
      `bench/service-${service}:80/TCP|${ip}:8080`
    t.same(
      [...(updates[1] ?? [])].map(([kind, some]) => [kind, [...some].sort()]),
      [
        [
          'endpoint',
          [
            names(0, '10.0.0.0'),
            names(0, '11.0.0.0'),
            names(1, '10.0.0.15'),
            names(1, '11.0.0.1'),
          ],
        ],
      ],
    )
    t.ok(state.bytesDown < all / 50, `${state.bytesDown} bytes of ${all}`)
    const fresh = join(t, b.port, 'node-1')
    await until('a new one', () => fresh.updates.length === 1)
    const inOrder = (resources: Resources) =>
      Object.entries(resources).map(([kind, some]) => [kind, [...some].sort()])
    t.same(inOrder(subscription.resources()), inOrder(fresh.subscription.resources()))
  },
)

t.test('nodes that need everything get it some at a time, and all get it', async (t) => {
  const { port, publisher, registry } = await replica(t, compiled(), 2)
  const joined = nodes.map((node) => join(t, port, node))
  let most = 0
  let waited = 0
  await until('all have it', () => {
    most = Math.max(most, publisher.turns.taken)
    waited = Math.max(waited, publisher.turns.waiting)
    return joined.every(({ updates }) => updates.length > 0)
  })
  await until('all said so', () => publisher.status().every(({ current }) => current))
  t.equal(most, 2)
  t.ok(waited > 0)
  t.same([publisher.turns.taken, publisher.turns.waiting], [0, 0])
  t.match(
    await registry.metrics(),
    /pillion_operator_large_deltas\{state="sent"\} 0\npillion_operator_large_deltas\{state="waiting"\} 0\n/,
  )
})

t.test('a node that does not read loses its stream, and others their wait', async (t) => {
  const { port, publisher } = await replica(t, compiled(), 1, 300)
  const session = http2Connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const stream = session.request({
    ...{ ':method': 'POST', ':path': '/pillion.v1.NodeConfig/Watch' },
    ...{ 'content-type': 'application/grpc', te: 'trailers' },
  })
  stream.on('error', () => undefined)
  const value = {
    ...{ node: 'node-1', role: Role.AGENT, softwareVersion: '0', contractVersion },
    ...{ resumeVersion: 0, resumeEpoch: '', mapLayout: '', degraded: [] },
    summary: undefined,
  }
  const hello = WatchRequest.encode({ message: { $case: 'hello', value } }).finish()
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(hello.length, 1)
  // Nobody listens for data: no more is asked for than fits into the window.
  stream.write(Buffer.concat([frame, hello]))
  await until('it has the turn', () => publisher.turns.taken === 1)
  const { updates } = join(t, port, 'node-2')
  await until('the other waits', () => publisher.turns.waiting === 1)
  await until('the other', () => updates.length === 1)
  t.match(
    publisher.status().map(({ node, connected }) => [node, connected]),
    [
      ['node-1', false],
      ['node-2', true],
    ],
  )
})
