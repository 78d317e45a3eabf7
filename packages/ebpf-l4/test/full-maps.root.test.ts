// SPDX-License-Identifier: Apache-2.0
// A map without room: the apply fails as a whole, what was in force stays, the next good one heals.
import { join } from 'node:path'
import t from 'tap'
import { KernelMap } from '../src/kernel-map.ts'
import {
  BpfError,
  cgroupKey,
  configuredMaps,
  Direction,
  EventFlag,
  EventKind,
  openPins,
  workloadLayout,
  type Tables,
} from '../src/index.ts'
import { Host } from './support/host.ts'
import type { Pod } from './support/host.ts'

const host = await Host.create(['client', 'server', 'other'])
const client = host.pod('client')
const server = host.pod('server')
const other = host.pod('other')
t.teardown(() => host.close())

/** Answers each line with itself. */
const echo = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => socket.on('error', () => 0).pipe(socket)).listen(
    80,
    '::',
    () => console.log('ready'),
  )
}

const connect = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(80, address)
  socket.on('connect', () => {
    console.log('open')
    socket.destroy()
  })
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
}
const ask = async (from: Pod): Promise<string> =>
  (await host.call(from, connect, server.ip4)).out

t.before(() => host.serve(server, echo))

/** Only `client` may reach the server. */
host.policy({
  subject: server,
  direction: Direction.DIRECTION_INGRESS,
  isolated: true,
  rule: 5,
  allow: [{ peer: client, rule: 6 }],
})
host.apply()

const maxEntries =
  host.datapath.mapInfo().find(({ name }) => name === 'pl_cgroups')?.maxEntries ?? 0
const key = (n: number): string => cgroupKey((1n << 40n) | BigInt(n))

/** Entries for pods that do not exist: as many as the map has room for alone. */
function overfill(): void {
  const value = workloadLayout.write({ identity: 999, proxy: 0 })
  for (let n = 0; n < maxEntries; n++) host.tables.pl_cgroups.set(key(n), value)
}
const newPod = [
  key(maxEntries),
  workloadLayout.write({ identity: 998, proxy: 0 }),
] as const
function relieve(): void {
  for (let n = 0; n < maxEntries; n++) host.tables.pl_cgroups.delete(key(n))
}
const sorted = (tables: Tables) =>
  configuredMaps.map((map) => [
    map,
    [...tables[map]].sort(([a], [b]) => (a < b ? -1 : 1)),
  ])
const mapFull = { code: 'MAP_FULL', errno: 7, message: /pl_cgroups.* the map is full/ }

t.test('MAP_FULL says which map; what is in force stays', async (t) => {
  const before = sorted(host.datapath.tables())
  overfill()
  // A policy that comes with the failed configuration must not come into force by half.
  host.policy({ subject: other, direction: Direction.DIRECTION_INGRESS, isolated: true })
  t.throws(() => host.apply(), BpfError)
  t.throws(() => host.apply(), mapFull, 'again')
  t.equal(await ask(client), 'open')
  t.equal(await ask(other), 'EPERM')
  t.same(host.datapath.verifyAttached(), [])
  t.same(sorted(host.datapath.tables()), before)
})

t.test('the next good apply heals, also with something new', async (t) => {
  relieve()
  host.policy({ subject: client, direction: Direction.DIRECTION_INGRESS, isolated: true })
  host.tables.pl_cgroups.set(...newPod)
  const { writes } = host.apply()
  t.ok(writes >= 2, `${writes} writes`)
  t.same(sorted(host.datapath.tables()), sorted(host.tables))
  t.equal(await ask(client), 'open')
  t.equal(await ask(other), 'EPERM')
  t.match(host.apply(), { writes: 0, deletes: 0 }, 'nothing is left to do')
})

t.test(
  'a policy whose first apply failed cuts open connections with the next',
  async (t) => {
    const chat = async (address: string): Promise<void> => {
      const { connect } = await import('node:net')
      const socket = connect(80, address)
      socket.on('data', () => console.log('ready'))
      socket.on('error', () => process.exit(1))
      setInterval(() => socket.write('x'), 20)
    }
    const child = await host.serve(client, chat, server.ip4)
    host.datapath.readEvents(4096)
    host.clearPolicy()
    host.policy({
      subject: server,
      direction: Direction.DIRECTION_INGRESS,
      isolated: true,
      rule: 8,
    })
    overfill()
    t.throws(() => host.apply(), mapFull)
    relieve()
    host.apply()
    const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY)
    t.equal(deny.rule, 8)
    t.ok(deny.flags & EventFlag.EVENT_F_OPEN_CONNECTION)
    child.kill()
    t.equal(await ask(client), 'EPERM')
  },
)

t.test('whoever takes over has open connections judged again', async (t) => {
  const generation = (): number =>
    host.datapath.dump('pl_settings')[0]?.value.policyGeneration ?? 0
  const before = generation()
  t.equal(host.apply().writes, 0)
  t.equal(generation(), before, 'not for nothing')
  // The last agent may have died after its rules and before their generation: nobody can tell.
  host.datapath.close()
  await host.open()
  t.equal(host.apply().writes, 0)
  t.equal(generation(), before + 1)
  host.apply()
  t.equal(generation(), before + 1, 'once')
})

t.test('without room for a connection its socket keeps the memory', async (t) => {
  const map = new KernelMap(
    'pl_connections',
    join(openPins(host.pinDir).maps, 'pl_connections'),
  )
  t.teardown(() => map.close())
  const { maxEntries } = map.info()
  // No socket lies at such an address.
  const keys = Array.from({ length: maxEntries }, (_, n) => {
    const key = Buffer.alloc(8)
    key.writeBigUInt64LE(BigInt(n + 1))
    return key
  })
  const nobody = Buffer.alloc(map.info().valueSize)
  host.service({
    address: '10.96.0.9',
    port: 80,
    backends: [{ pod: server, port: 80 }],
  })
  host.clearPolicy()
  host.apply()
  map.setAll(keys.map((key) => [key, nobody] as const))
  const chat = async (address: string): Promise<void> => {
    const { connect } = await import('node:net')
    const socket = connect(80, address)
    socket.on('connect', () => socket.write('x'))
    socket.on('data', () => {
      console.log(socket.remoteAddress)
      socket.destroy()
    })
  }
  const full = (): number => host.datapath.counters()['COUNTER_MAP_FULL'] ?? 0
  const before = full()
  t.equal((await host.call(client, chat, '10.96.0.9')).out, '10.96.0.9')
  t.equal(full(), before + 1, 'counted')
  const close = await host.event(
    ({ kind, servicePort }) => kind === EventKind.EVENT_CLOSE && servicePort === 80,
  )
  t.equal(close.bytesSent, 1n)
  t.equal(close.srcIdentity, client.identity)
  map.deleteAll(keys)
})
