// SPDX-License-Identifier: Apache-2.0
// A pod goes and another one has its cgroup's path, or its address, at once: nobody inherits what the first was allowed.
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmdirSync } from 'node:fs'
import { dirname } from 'node:path'
import t from 'tap'
import * as l4 from '../src/index.ts'
import { Host, parseAddress } from './support/host.ts'
import type { Pod } from './support/host.ts'
import { echo } from './support/streams.ts'

const { Direction, EventFlag, EventKind } = l4
const host = await Host.create(['client', 'next', 'server'])
const [client, next, server] = [host.pod('client'), host.pod('next'), host.pod('server')]
t.teardown(() => host.close())

const connect = async (address: string, localAddress?: string): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect({
    ...{ port: 8080, host: address },
    ...(localAddress === undefined ? {} : { localAddress }),
  })
  socket.setTimeout(700, () => {
    console.log('silence')
    socket.destroy()
  })
  socket.on('connect', () => {
    console.log('connected')
    socket.destroy()
  })
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
}
const ask = async (
  from: { namespace: string; cgroup: string },
  localAddress?: string,
): Promise<string> => {
  const source = localAddress === undefined ? [] : [localAddress]
  return (await host.call(from, connect, server.ip4, ...source)).out
}
const denial = (rule: number): Promise<l4.FlowEvent> =>
  host.event((e) => e.kind === EventKind.EVENT_DENY && e.rule === rule)

t.before(async () => {
  host.policy({
    ...{ subject: server, direction: Direction.DIRECTION_INGRESS, isolated: true },
    ...{ rule: 5, allow: [{ peer: client, rule: 6 }] },
  })
  host.apply()
  await host.serve(server, echo)
})

t.test('a cgroup of the same path is another cgroup', async (t) => {
  t.equal(await ask(client), 'connected')
  const before = l4.cgroupId(client.cgroup)
  for (let i = 0; ; i++) {
    try {
      rmdirSync(client.cgroup)
      break
    } catch (error) {
      if (i === 100) throw error // its last process is not reaped yet
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  mkdirSync(client.cgroup)
  t.not(l4.cgroupId(client.cgroup), before)
  t.equal(await ask(client), 'EPERM', 'before the agent has seen it')
  t.equal((await denial(5)).srcIdentity, l4.ReservedIdentity.IDENTITY_UNMANAGED)
  const key = Buffer.alloc(8)
  key.writeBigUInt64LE(l4.cgroupId(client.cgroup))
  const { identity } = client
  host.tables.pl_cgroups.set(
    l4.tableKey(key),
    l4.workloadLayout.write({ identity, proxy: 0 }),
  )
  host.apply()
  t.equal(await ask(client), 'connected', 'and when it has')
})

t.test('an address that another pod has now', async (t) => {
  const ip = (pod: Pod, ...args: string[]): Buffer =>
    execFileSync('ip', ['-n', pod.namespace, ...args])
  const address = `${client.ip4}/24`
  ip(client, 'addr', 'del', address, 'dev', 'eth0')
  ip(next, 'addr', 'add', address, 'dev', 'eth0')
  ip(server, 'neigh', 'flush', 'all')
  t.equal(await ask(next, client.ip4), 'EPERM', 'a process is known by its cgroup')
  t.equal((await denial(5)).srcIdentity, next.identity)

  const key = l4.addrKeyLayout.write({
    ...{ prefixLength: 128, addr: parseAddress(client.ip4) },
  })
  const flags = l4.AddrFlag.ADDR_LOCAL
  const info = l4.addrInfoLayout.write({ identity: next.identity, flags })
  host.tables.pl_addresses.set(l4.tableKey(key), info)
  host.apply()
  // As from another node: no hook has seen the sender, only its address is known.
  const unseen = { namespace: next.namespace, cgroup: dirname(host.root) }
  t.equal(await ask(unseen, client.ip4), 'silence')
  const deny = await denial(5)
  t.equal(deny.srcIdentity, next.identity)
  t.ok(deny.flags & EventFlag.EVENT_F_INGRESS)
  t.equal(await ask(next, client.ip4), 'EPERM')
})

t.test('a server whose address another pod has now', async (t) => {
  // `next` may not be reached by anyone; it has the address that the client was just talking to.
  host.clearPolicy()
  host.policy({
    ...{ subject: next, direction: Direction.DIRECTION_INGRESS, isolated: true, rule: 7 },
  })
  host.apply()
  const hold = async (address: string): Promise<void> => {
    const { connect } = await import('node:net')
    const socket = connect(8080, address, () => socket.write('x'))
    socket.on('error', (error) => {
      console.log((error as NodeJS.ErrnoException).code)
      process.exit()
    })
    socket.once('data', () => console.log('ready'))
    setInterval(() => socket.write('x'), 20)
  }
  const talker = await host.serve(client, hold, server.ip6)
  const key = l4.addrKeyLayout.write({
    ...{ prefixLength: 128, addr: parseAddress(server.ip6) },
  })
  const info = l4.addrInfoLayout.write({
    ...{ identity: next.identity, flags: l4.AddrFlag.ADDR_LOCAL },
  })
  host.tables.pl_addresses.set(l4.tableKey(key), info)
  const ended = new Promise<string>((resolve) =>
    talker.stdout?.once('data', (data) => resolve(String(data).trim())),
  )
  host.apply()
  const deny = await denial(7)
  t.equal(deny.dstIdentity, next.identity)
  t.ok(deny.flags & EventFlag.EVENT_F_OPEN_CONNECTION, 'the open connection is cut')
  t.match(await ended, /ETIMEDOUT|ECONNRESET/)
  t.equal((await host.call(client, connect, server.ip6)).out, 'EPERM', 'new ones, too')
})
