// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import * as l4 from '../src/index.ts'
import { Host, parseAddress } from './support/host.ts'
import { nextLine } from './support/program.ts'

const { Direction, EventKind } = l4
const host = await Host.create(['client', 'server'])
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const echo = async (): Promise<void> => {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp6')
  socket.on('message', (message, from) => {
    socket.send(message, from.port, from.address, () => undefined)
  })
  socket.on('error', (error) => console.error(error.message))
  socket.bind(5353, '::', () => console.log('ready'))
}

/** One datagram there and, within the time, one back: who answered, or the error. */
const ask = async (address: string, port: number, connected: boolean): Promise<void> => {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  const finish = (text: string): void => {
    console.log(text)
    socket.close()
    clearTimeout(timer)
  }
  const timer = setTimeout(() => finish('no answer'), 700)
  const failed = (error: Error | null): void => {
    if (error) finish((error as NodeJS.ErrnoException).code ?? 'error')
  }
  socket.on('message', (message, from) =>
    finish(`${message} ${from.address}:${from.port}`),
  )
  socket.on('error', failed)
  if (connected) {
    socket.connect(port, address, (error?: Error) => {
      if (error) return failed(error)
      const peer = socket.remoteAddress()
      socket.send(`${peer.address}:${peer.port}`, failed)
    })
  } else {
    socket.send('hello', port, address, failed)
  }
}

const answer = async (address: string, connected = false): Promise<string> =>
  (await host.call(client, ask, address, 53, connected)).out

t.before(async () => {
  host.service({
    address: '10.96.0.10',
    port: 53,
    protocol: 17,
    backends: [{ pod: server, port: 5353 }],
  })
  host.service({
    address: 'fd96::a',
    port: 53,
    protocol: 17,
    backends: [{ pod: server, port: 5353, ip6: true }],
  })
  host.apply()
  await host.serve(server, echo)
})

t.test("answers come from the service's address", async (t) => {
  t.equal(await answer('10.96.0.10'), 'hello 10.96.0.10:53')
  t.equal(await answer('fd96::a'), 'hello fd96::a:53')
  t.equal(await answer('10.96.0.10', true), '10.96.0.10:53 10.96.0.10:53', 'connected')
  t.equal(await answer('fd96::a', true), 'fd96::a:53 fd96::a:53', 'connected, IPv6')
})

t.test('egress policy refuses datagrams at once', async (t) => {
  host.policy({ subject: client, direction: Direction.DIRECTION_EGRESS, isolated: true })
  host.apply()
  t.equal(await answer('10.96.0.10'), 'EPERM')
  t.equal(await answer('10.96.0.10', true), 'EPERM')
  host.clearPolicy()
  host.apply()
})

t.test('answers pass although both ends are isolated the other way', async (t) => {
  host.policy({
    subject: client,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 1,
  })
  host.policy({
    subject: server,
    direction: Direction.DIRECTION_EGRESS,
    isolated: true,
    rule: 2,
  })
  host.apply()
  t.equal(await answer('10.96.0.10'), 'hello 10.96.0.10:53')
  t.equal(await answer('10.96.0.10', true), '10.96.0.10:53 10.96.0.10:53')
  host.clearPolicy()
  host.apply()
})

t.test("the asker's ingress policy does not stop the answer", async (t) => {
  host.policy({ subject: client, direction: Direction.DIRECTION_INGRESS, isolated: true })
  host.apply()
  t.equal(await answer('10.96.0.10'), 'hello 10.96.0.10:53')
  t.equal(await answer('10.96.0.10', true), '10.96.0.10:53 10.96.0.10:53')
  host.clearPolicy()
  host.apply()
})

t.test('a datagram that nobody asked for is judged at the destination', async (t) => {
  // From a process that the connect hooks do not cover: it runs outside of the node's cgroup.
  host.policy({
    subject: server,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 4,
  })
  host.apply()
  const outside = {
    namespace: client.namespace,
    cgroup: host.root.replace(/\/[^/]+$/, ''),
  }
  const { out } = await host.call(outside, ask, server.ip4, 5353, false)
  t.equal(out, 'no answer')
  const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY && e.rule === 4)
  t.equal(deny.protocol, 17)
  t.equal(deny.srcIdentity, client.identity, 'the source is known by its address')
  host.clearPolicy()
  host.apply()
  t.equal(
    (await host.call(outside, ask, server.ip4, 5353, false)).out,
    `hello ${server.ip4}:5353`,
  )
})

t.test('a connected socket obeys a policy that came after its connect', async (t) => {
  // Nobody of ours judges at the destination: its address is the world's, its process in none of the node's cgroups.
  const { pl_addresses } = host.tables
  const key = l4.tableKey(
    l4.addrKeyLayout.write({ prefixLength: 128, addr: parseAddress(server.ip4) }),
  )
  const info = pl_addresses.get(key)
  t.ok(pl_addresses.delete(key))
  host.apply()
  const world = {
    namespace: server.namespace,
    cgroup: host.root.replace(/\/[^/]+$/, ''),
  }
  const receiver = async (): Promise<void> => {
    const { createSocket } = await import('node:dgram')
    const socket = createSocket('udp4')
    socket.on('message', (message) => console.log(`got ${message}`))
    socket.bind(5354, () => console.log('ready'))
  }
  /** Sends each word of stdin, says how that went. */
  const sender = async (address: string): Promise<void> => {
    const { createSocket } = await import('node:dgram')
    const socket = createSocket('udp4')
    process.stdin.on('data', (word) => {
      socket.send(word, (error) =>
        console.log(error === null ? 'sent' : (error as NodeJS.ErrnoException).code),
      )
    })
    socket.connect(5354, address, () => console.log('ready'))
  }
  const far = await host.serve(world, receiver)
  t.teardown(() => far.kill()) // in none of the cgroups that the host clears
  const near = await host.serve(client, sender, server.ip4)
  const send = (word: string): Promise<string> => {
    const line = nextLine(near)
    near.stdin?.write(word)
    return line
  }
  let got = nextLine(far)
  t.equal(await send('before'), 'sent')
  t.equal(await got, 'got before')
  got = nextLine(far)
  host.policy({
    subject: client,
    direction: Direction.DIRECTION_EGRESS,
    isolated: true,
    rule: 6,
  })
  host.apply()
  t.equal(await send('during'), 'EPERM')
  const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY && e.rule === 6)
  t.equal(deny.protocol, 17)
  t.equal(deny.srcIdentity, client.identity)
  host.clearPolicy()
  host.apply()
  t.equal(await send('after'), 'sent', 'the socket survives')
  t.equal(await got, 'got after', 'and nothing came in between')
  if (info !== undefined) pl_addresses.set(key, info)
  host.apply()
})
