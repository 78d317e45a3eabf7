// SPDX-License-Identifier: Apache-2.0
// Node ports, session affinity, and datagrams that stay with their endpoint, in the kernel.
import t from 'tap'
import { Host } from './support/host.ts'
import type { Pod } from './support/host.ts'
import { nextLine } from './support/program.ts'

const host = await Host.create(['client', 'other', 'a', 'b', 'c'])
const [client, other] = [host.pod('client'), host.pod('other')]
const servers = ['a', 'b', 'c'].map((name) => host.pod(name))
const [a, b] = servers as [Pod, Pod, Pod]
const [everyIPv4, everyIPv6] = ['0.0.0.0', '::']
t.teardown(() => host.close())

/** Says its name, over TCP and over UDP. */
const namedServer = async (name: string): Promise<void> => {
  const { createServer } = await import('node:net')
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp6')
  socket.on('message', (_, from) => socket.send(name, from.port, from.address))
  socket.bind(8080, '::', () =>
    createServer((connection) => connection.end(name)).listen(8080, '::', () =>
      console.log('ready'),
    ),
  )
}

/** Connects again and again; who answered each time, or the error. */
const connects = async (address: string, port: number, times: number): Promise<void> => {
  const { connect } = await import('node:net')
  const names: string[] = []
  for (let i = 0; i < times; i++) {
    const socket = connect(port, address)
    names.push(
      await new Promise((resolve) => {
        socket.on('data', (data) => resolve(String(data)))
        socket.on('error', (e) => resolve((e as NodeJS.ErrnoException).code ?? 'error'))
      }),
    )
    socket.destroy()
  }
  console.log(names.join(' '))
}

const ask = async (from: Pod, address: string, port: number, times = 12) =>
  (await host.call(from, connects, address, port, times)).out.split(' ')
const distinct = (names: readonly string[]) => [...new Set(names)].sort()
const backends = servers.map((pod) => ({ pod, port: 8080 }))

t.before(async () => {
  for (const pod of servers) await host.serve(pod, namedServer, pod.name)
})

t.test('a node port is at every address of every node, and nowhere else', async (t) => {
  const ip6 = backends.map((backend) => ({ ...backend, ip6: true }))
  host.service({ address: everyIPv4, port: 30080, backends })
  host.service({ address: everyIPv6, port: 30080, backends: ip6 })
  host.apply()
  t.same(distinct(await ask(client, '10.9.0.254', 30080, 40)), ['a', 'b', 'c'])
  t.same(distinct(await ask(client, 'fd09::fe', 30080, 40)), ['a', 'b', 'c'])
  t.same(await ask(client, '::ffff:10.9.0.254', 30081, 1), ['ECONNREFUSED'])
  t.same(await ask(client, other.ip4, 30080, 1), ['ECONNREFUSED'], "a pod's address")
})

t.test('affinity: each client stays with one endpoint', async (t) => {
  host.service({ address: '10.96.1.1', port: 80, backends, affinitySeconds: 1 })
  host.apply()
  const [first] = distinct(await ask(client, '10.96.1.1', 80))
  t.same(distinct(await ask(client, '10.96.1.1', 80)), [first], 'another process, too')

  // Silent for longer than the time-out: balanced anew. Of 12 tries of 3 endpoints one differs but once in 200 000.
  const later: string[] = []
  for (let i = 0; i < 12 && distinct([...later, first ?? '']).length === 1; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1100))
    later.push(...(await ask(client, '10.96.1.1', 80, 1)))
  }
  t.not(distinct([...later, first ?? '']).length, 1)
})

t.test('affinity: clients are apart, and an endpoint that left is left', async (t) => {
  host.service({ address: '10.96.1.2', port: 80, backends, affinitySeconds: 600 })
  host.apply()
  const mine = distinct(await ask(client, '10.96.1.2', 80))
  t.equal(mine.length, 1)
  t.equal(distinct(await ask(other, '10.96.1.2', 80)).length, 1)
  const rest = backends.filter(({ pod }) => pod.name !== mine[0])
  host.service({ address: '10.96.1.2', port: 80, backends: rest, affinitySeconds: 600 })
  host.apply()
  const next = distinct(await ask(client, '10.96.1.2', 80))
  t.equal(next.length, 1)
  t.not(next[0], mine[0])
})

/** Sends on one socket that is not connected; who answered each time. */
const datagrams = async (address: string, port: number, times: number): Promise<void> => {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp4')
  const names: string[] = []
  for (let i = 0; i < times; i++) {
    names.push(
      await new Promise<string>((resolve) => {
        socket.once('message', (text, from) => resolve(`${text}@${from.address}`))
        socket.send('?', port, address)
      }),
    )
  }
  socket.close()
  console.log(names.join(' '))
}

t.test('datagrams of one socket go to one endpoint', async (t) => {
  host.service({ address: '10.96.1.3', port: 53, protocol: 17, backends })
  host.apply()
  const seen: string[] = []
  for (let i = 0; i < 12; i++) {
    const { out } = await host.call(client, datagrams, '10.96.1.3', 53, 8)
    const names = distinct(out.split(' '))
    t.equal(names.length, 1, out)
    seen.push(...names)
  }
  t.not(distinct(seen).length, 1, 'sockets are balanced')
  t.match(seen[0], /@10\.96\.1\.3$/)
})

/** Sends at each line of standard input on one connected socket; says who answered, or the error. */
const connectedSocket = async (address: string, port: number): Promise<void> => {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp4')
  socket.on('message', (text) => console.log(String(text)))
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
  socket.connect(port, address, () => console.log('ready'))
  process.stdin.on('data', () =>
    socket.send('?', (error) => {
      if (error) console.log((error as NodeJS.ErrnoException).code)
    }),
  )
}

t.test('a socket that is connected to an endpoint that left hears of it', async (t) => {
  const service = { address: '10.96.1.4', port: 53, protocol: 17 }
  host.service({ ...service, backends: [{ pod: a, port: 8080 }] })
  host.apply()
  const socket = await host.serve(client, connectedSocket, '10.96.1.4', 53)
  const send = async (): Promise<string> => {
    const line = nextLine(socket)
    socket.stdin?.write('\n')
    return line
  }
  t.equal(await send(), 'a')
  for (const map of ['pl_backends', 'pl_members'] as const) {
    const newest = [...host.tables[map].keys()].at(-1) ?? ''
    host.tables[map].delete(newest)
  }
  host.service({ ...service, backends: [{ pod: b, port: 8080 }] })
  host.apply()
  t.equal(await send(), 'EPERM', 'the next datagram says so')
  t.equal(host.datapath.counters()['COUNTER_UDP_GONE'], 1)
  const { out } = await host.call(client, datagrams, '10.96.1.4', 53, 1)
  t.equal(out, 'b@10.96.1.4', 'whoever asks anew is served')
})

t.test('the unspecified address itself is not a service', async (t) => {
  const { out } = await host.call(client, connects, '0.0.0.0', 30080, 1)
  t.equal(out, 'ECONNREFUSED', 'it means loopback')
})
