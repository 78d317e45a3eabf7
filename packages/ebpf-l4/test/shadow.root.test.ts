// SPDX-License-Identifier: Apache-2.0
// What a policy in Shadow mode would have denied is let through, counted, and told once.
import t from 'tap'
import { Direction, EventFlag, EventKind } from '../src/index.ts'
import { Host } from './support/host.ts'
import type { Pod } from './support/host.ts'

const host = await Host.create(['client', 'other', 'server'])
const [client, other] = [host.pod('client'), host.pod('other')]
const server = host.pod('server')
t.teardown(() => host.close())

const { DIRECTION_SHADOW_EGRESS, DIRECTION_SHADOW_INGRESS } = Direction

const serve = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp4')
  socket.on('message', (text, from) => socket.send(text, from.port, from.address))
  socket.bind(8080, () =>
    createServer((connection) => connection.end('hello')).listen(8080, () =>
      console.log('ready'),
    ),
  )
}

const ask = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(8080, address)
  socket.on('data', (data) => console.log(String(data)))
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
}

/** A datagram and its answer. */
const ping = async (address: string): Promise<void> => {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp4')
  socket.on('message', (text) => {
    console.log(String(text))
    socket.close()
  })
  socket.send('ping', 8080, address)
}

const from = async (pod: Pod): Promise<string> =>
  (await host.call(pod, ask, server.ip4)).out

function shadowOnly(direction: Direction, subject: Pod, allow: Pod[], rule: number) {
  host.clearPolicy()
  host.policy({
    ...{ subject, direction, isolated: true, rule },
    allow: allow.map((peer) => ({ peer, port: 8080 })),
  })
  host.apply()
}

const sums = () =>
  host.datapath
    .dump('pl_shadow')
    .map(({ key, value }) => [key.rule, key.srcIdentity, key.port, Number(value.count)])

t.before(() => host.serve(server, serve))

t.test('ingress: counted for whom the policy leaves out', async (t) => {
  shadowOnly(DIRECTION_SHADOW_INGRESS, server, [client], 70)
  for (const pod of [client, other, other]) t.equal(await from(pod), 'hello')
  t.same(sums(), [[70, other.identity, 8080, 2]])
  const told = host.datapath
    .readEvents(4096)
    .all()
    .filter(({ kind }) => kind === EventKind.EVENT_DENY)
  t.equal(told.length, 1, 'the first of its kind')
  t.equal(told[0]?.flags, EventFlag.EVENT_F_SHADOW)
  t.equal(told[0]?.rule, 70)
  t.equal(told[0]?.direction, Direction.DIRECTION_INGRESS)
  t.equal(host.datapath.counters()['COUNTER_SHADOW_DENY'], 2)
  t.equal(host.datapath.counters()['COUNTER_DENY_INGRESS'], 0)
})

t.test('egress; answers are not attempts', async (t) => {
  shadowOnly(DIRECTION_SHADOW_EGRESS, server, [], 71)
  t.equal((await host.call(client, ping, server.ip4)).out, 'ping')
  t.same(
    sums().filter(([rule]) => rule === 71),
    [],
    'the server only answered',
  )
  shadowOnly(DIRECTION_SHADOW_EGRESS, client, [], 72)
  t.equal((await host.call(client, ping, server.ip4)).out, 'ping')
  t.equal(await from(client), 'hello')
  t.same(
    sums()
      .filter(([rule]) => rule === 72)
      .map(([, , , count]) => count)
      .sort(),
    [1, 1],
  )
})

t.test('what is denied in earnest is not told as a shadow', async (t) => {
  shadowOnly(DIRECTION_SHADOW_INGRESS, server, [], 73)
  host.policy({ subject: server, direction: Direction.DIRECTION_INGRESS, isolated: true })
  host.apply()
  t.equal(await from(client), 'EPERM')
  t.same(
    sums().filter(([rule]) => rule === 73),
    [],
  )
})

t.test('a packet of somebody who came without connect', async (t) => {
  // Outside of the node's cgroup no connect hook runs; the address says that it is not of this node.
  host.address(other.ip4, other.identity, 0)
  shadowOnly(DIRECTION_SHADOW_INGRESS, server, [client], 74)
  const outside = {
    namespace: other.namespace,
    cgroup: host.root.replace(/\/[^/]+$/, ''),
  }
  t.equal((await host.call(outside, ask, server.ip4)).out, 'hello')
  t.same(
    sums().filter(([rule]) => rule === 74),
    [[74, other.identity, 8080, 1]],
  )
})
