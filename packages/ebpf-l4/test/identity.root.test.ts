// SPDX-License-Identifier: Apache-2.0
// Who an end is may change while a connection is open, and a socket may be older than its owner's place.
import { dirname } from 'node:path'
import t from 'tap'
import * as l4 from '../src/index.ts'
import { Host, parseAddress } from './support/host.ts'
import type { Pod } from './support/host.ts'
import { nextLine } from './support/program.ts'

const { Direction, EventFlag, EventKind } = l4
const host = await Host.create(['client', 'server'])
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const quarantine = 999

const echo = async (port: number): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(port, '::', () => console.log('ready'))
}

/** One word there and back, or the error, or silence. */
const ask = async (address: string, port: number): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(port, address, () => socket.end('hello'))
  socket.setTimeout(700, () => {
    console.log('silence')
    socket.destroy()
  })
  socket.on('data', (data) => console.log(String(data)))
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
}
const answer = async (
  from: { namespace: string; cgroup: string },
  port: number,
): Promise<string> => (await host.call(from, ask, server.ip4, port)).out

/** Says so after its first answer, then sends on until it is told that the connection is over. */
const chat = async (address: string, port: number): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(port, address)
  socket.once('data', () => console.log('ready'))
  socket.on('data', () => undefined)
  socket.on('error', (error) => {
    console.log((error as NodeJS.ErrnoException).code)
    process.exit()
  })
  setInterval(() => socket.write('x'), 20)
}

/** The same pod under another identity, as when its labels change. */
function relabel(pod: Pod, identity: number): void {
  const { pl_addresses, pl_cgroups } = host.tables
  const inode = Buffer.alloc(8)
  inode.writeBigUInt64LE(l4.cgroupId(pod.cgroup))
  pl_cgroups.set(l4.tableKey(inode), l4.workloadLayout.write({ identity, proxy: 0 }))
  for (const text of [pod.ip4, pod.ip6]) {
    const key = l4.addrKeyLayout.write({ prefixLength: 128, addr: parseAddress(text) })
    const info = l4.addrInfoLayout.write({ identity, flags: l4.AddrFlag.ADDR_LOCAL })
    pl_addresses.set(l4.tableKey(key), info)
  }
}

t.afterEach(() => {
  relabel(client, client.identity)
  host.clearPolicy()
  host.apply()
})

for (const acceleration of ['off', 'on'] as const) {
  t.test(
    `new labels cut an open connection that they forbid (acceleration ${acceleration})`,
    async (t) => {
      const port = acceleration === 'on' ? 8081 : 8080
      host.datapath.setSettings({ acceleration, proxyPort: 0 })
      // In force before the connection: no rule changes any more.
      host.policy({
        subject: quarantine,
        direction: Direction.DIRECTION_EGRESS,
        isolated: true,
        rule: 7,
      })
      host.apply()
      await host.serve(server, echo, port)
      const child = await host.serve(client, chat, server.ip4, port)
      const end = nextLine(child)
      relabel(client, quarantine)
      host.apply()
      const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY)
      t.equal(deny.rule, 7)
      t.equal(deny.srcIdentity, quarantine)
      t.equal(deny.dstIdentity, server.identity)
      t.ok(deny.flags & EventFlag.EVENT_F_OPEN_CONNECTION)
      t.equal(await end, acceleration === 'on' ? 'EACCES' : 'ETIMEDOUT')
      t.equal(await answer(client, port), 'EPERM', 'new connections as well')
      relabel(client, client.identity)
      host.clearPolicy()
      host.apply()
      t.equal(await answer(client, port), 'hello')
    },
  )
}

t.test("a listener brought into a pod meets the pod's policy", async (t) => {
  host.datapath.setSettings({ acceleration: 'off', proxyPort: 0 })
  /** Socket activation: made by the node, used in the pod. The socket keeps the cgroup that it was made in. */
  const activated = async (cgroup: string): Promise<void> => {
    const { createServer } = await import('node:net')
    const { writeFileSync } = await import('node:fs')
    createServer((socket) => socket.end('hello')).listen(8082, '::', () => {
      writeFileSync(`${cgroup}/cgroup.procs`, `${process.pid}`)
      console.log('ready')
    })
  }
  const node = { namespace: server.namespace, cgroup: host.root }
  /** No connect hook sees this client: only the destination judges. */
  const outside = { namespace: client.namespace, cgroup: dirname(host.root) }
  await host.serve(node, activated, server.cgroup)
  t.equal(await answer(outside, 8082), 'hello', 'without a policy it serves')
  host.policy({
    subject: server,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 8,
  })
  host.apply()
  t.equal(await answer(outside, 8082), 'silence')
  const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY && e.rule === 8)
  t.equal(deny.srcIdentity, client.identity)
})
