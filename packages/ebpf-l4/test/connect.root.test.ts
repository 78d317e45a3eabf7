// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import t from 'tap'
import {
  addrInfoLayout,
  addrKeyLayout,
  Direction,
  EventKind,
  IdentityBit,
  tableKey,
} from '../src/index.ts'
import { formatAddress, Host, parseAddress } from './support/host.ts'
import type { Pod } from './support/host.ts'

const host = await Host.create(['client', 'a', 'b'])
const client = host.pod('client')
const [a, b] = [host.pod('a'), host.pod('b')]

t.teardown(() => host.close())

/** Answers every connection with its own name and what the peer's address is. */
const tcpServer = async (name: string, port: number): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => socket.end(`${name} ${socket.remoteAddress}`)).listen(
    port,
    '::',
    () => console.log('ready'),
  )
}

const connect = async (address: string, port: number): Promise<void> => {
  const { connect } = await import('node:net')
  const started = Date.now()
  const socket = connect(port, address)
  let text = ''
  socket.on('connect', () => (text = `${socket.remoteAddress}:${socket.remotePort} `))
  socket.on('data', (data) => (text += String(data)))
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
  socket.on('end', () => console.log(text))
  socket.on('close', () =>
    console.log(`${Date.now() - started < 500 ? 'at once' : 'late'}`),
  )
}

const ask = async (from: Pod, address: string, port: number): Promise<string> =>
  (await host.call(from, connect, address, port)).out

t.before(async () => {
  await host.serve(a, tcpServer, 'a', 8080)
  await host.serve(b, tcpServer, 'b', 8080)
})

t.test(
  'a TCP service is translated, and the application sees what it asked for',
  async (t) => {
    host.service({ address: '10.96.0.1', port: 80, backends: [{ pod: a, port: 8080 }] })
    host.service({
      address: 'fd96::1',
      port: 80,
      backends: [{ pod: b, port: 8080, ip6: true }],
    })
    host.apply()
    t.equal(
      await ask(client, '10.96.0.1', 80),
      `10.96.0.1:80 a ::ffff:${client.ip4}\nat once`,
    )
    t.equal(await ask(client, 'fd96::1', 80), `fd96::1:80 b ${client.ip6}\nat once`)
    t.equal(
      await ask(client, '::ffff:10.96.0.1', 80),
      `::ffff:10.96.0.1:80 a ::ffff:${client.ip4}\nat once`,
      'IPv4-mapped IPv6 is the same service',
    )
    const close = await host.event((e) => e.kind === EventKind.EVENT_CLOSE)
    t.equal(formatAddress(close.service), '10.96.0.1')
    t.equal(close.servicePort, 80)
    t.equal(formatAddress(close.dst), a.ip4)
    t.equal(close.srcIdentity, client.identity)
    t.equal(close.dstIdentity, a.identity)
    t.equal(close.bytesReceived, BigInt(`a ::ffff:${client.ip4}`.length), 'payload only')
  },
)

t.test('endpoints are chosen by weight', async (t) => {
  host.service({
    address: '10.96.0.2',
    port: 80,
    backends: [
      { pod: a, port: 8080, weight: 3 },
      { pod: b, port: 8080, weight: 1 },
    ],
  })
  host.apply()
  const many = async (): Promise<void> => {
    const { connect } = await import('node:net')
    const count: Record<string, number> = {}
    for (let i = 0; i < 400; i++) {
      const who = await new Promise<string>((resolve, reject) => {
        const socket = connect(80, '10.96.0.2').on('error', reject)
        socket.on('data', (data) => resolve(String(data).slice(0, 1)))
      })
      count[who] = (count[who] ?? 0) + 1
    }
    console.log(JSON.stringify(count))
  }
  const { out } = await host.call(client, many)
  const count = JSON.parse(out) as { a: number; b: number }
  // 400 draws at 3/4: 300 expected, five standard deviations are 43.
  t.ok(count.a > 257 && count.a < 343, `a got ${count.a} of 400`)
  t.equal(count.a + count.b, 400)
})

t.test('a service without endpoints refuses at once', async (t) => {
  host.service({ address: '10.96.0.3', port: 80, backends: [] })
  host.apply()
  t.equal(await ask(client, '10.96.0.3', 80), 'ECONNREFUSED\nat once')
})

t.test('policy refuses at connect, with the rule', async (t) => {
  host.policy({
    subject: client,
    direction: Direction.DIRECTION_EGRESS,
    isolated: true,
    rule: 7,
    allow: [{ peer: a, protocol: 6, port: 8080, rule: 8 }],
  })
  host.apply()
  t.match(await ask(client, '10.96.0.1', 80), /^10.96.0.1:80 a/, 'by the port of the pod')
  t.equal(await ask(client, b.ip4, 8080), 'EPERM\nat once')
  t.equal(await ask(client, b.ip6, 8080), 'EPERM\nat once')
  t.equal(await ask(client, `::ffff:${b.ip4}`, 8080), 'EPERM\nat once')
  const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY)
  t.equal(deny.rule, 7)
  t.equal(deny.direction, Direction.DIRECTION_EGRESS)
  t.equal(
    Buffer.from(deny.comm).toString().replaceAll('\0', ''),
    'MainThread',
    'as node names its thread',
  )
  host.clearPolicy()
  host.apply()
  t.match(await ask(client, b.ip4, 8080), /b /)
})

t.test("the destination's ingress policy refuses at connect as well", async (t) => {
  host.policy({
    subject: b,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 9,
    allow: [{ peer: a, rule: 10 }],
  })
  host.apply()
  t.equal(await ask(client, b.ip4, 8080), 'EPERM\nat once')
  t.match(await ask(a, b.ip4, 8080), /b /)
  const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY)
  t.equal(deny.rule, 9)
  t.equal(deny.direction, Direction.DIRECTION_INGRESS)
  host.clearPolicy()
  host.apply()
})

t.test('a deny rule wins over an allow rule', async (t) => {
  host.policy({
    subject: b,
    direction: Direction.DIRECTION_INGRESS,
    isolated: false,
    allow: [{ peer: 0, rule: 1 }],
    deny: [{ peer: client, protocol: 6, rule: 2 }],
  })
  host.apply()
  t.equal(await ask(client, b.ip4, 8080), 'EPERM\nat once')
  t.match(await ask(a, b.ip4, 8080), /b /)
  host.clearPolicy()
  host.apply()
})

t.test('an unknown pod is unmanaged, and default deny denies it', async (t) => {
  host.policy({
    subject: b,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 3,
  })
  host.apply()
  const stranger = { namespace: client.namespace, cgroup: `${host.root}/kubepods` }
  const { out } = await host.call(stranger, connect, b.ip4, 8080)
  t.equal(out, 'EPERM\nat once')
  host.clearPolicy()
  host.apply()
})

t.test('a socket that connects again forgets what it was connected to', async (t) => {
  host.service({
    address: '10.96.0.4',
    port: 53,
    protocol: 17,
    backends: [{ pod: a, port: 5353 }],
  })
  host.apply()
  /** UDP: node lets only such a socket connect twice. */
  const twice = async (): Promise<void> => {
    const { createSocket } = await import('node:dgram')
    const socket = createSocket('udp4')
    for (const [port, address] of [
      [53, '10.96.0.4'],
      [9, '127.0.0.1'],
    ] as const) {
      await new Promise<void>((resolve) => socket.connect(port, address, resolve))
      const peer = socket.remoteAddress()
      console.log(`${peer.address}:${peer.port}`)
      socket.disconnect()
    }
    socket.close()
  }
  t.equal((await host.call(client, twice)).out, '10.96.0.4:53\n127.0.0.1:9')
})

t.test(
  'nothing is kept of a connection that is closed, or never came to be',
  async (t) => {
    const connections = (): number => host.datapath.dump('pl_connections').length
    host.service({
      address: '10.96.0.5',
      port: 80,
      backends: [{ pod: a, port: 8080 }],
    })
    host.service({ address: '10.96.0.6', port: 80, backends: [{ pod: a, port: 9 }] })
    host.apply()
    const hold = async (): Promise<void> => {
      const { connect } = await import('node:net')
      const held = connect({ port: 80, host: '10.96.0.5', allowHalfOpen: true })
      held.on('connect', () => console.log('ready'))
      setInterval(() => undefined, 1000) // a half-open socket alone does not keep a process
    }
    t.equal(connections(), 0)
    const holder = await host.serve(client, hold)
    const [kept] = host.datapath.dump('pl_connections')
    t.equal(formatAddress(kept?.value.service ?? new Uint8Array(16)), '10.96.0.5')
    holder.kill('SIGKILL')
    await new Promise((resolve) => holder.on('exit', resolve))
    t.equal(connections(), 0, 'a killed process closes what it had')
    await ask(client, '10.96.0.5', 80)
    t.match(await ask(client, '10.96.0.6', 80), /ECONNREFUSED/)
    // The hook has let it pass; the kernel then finds no way there, and never calls back.
    execFileSync('ip', [
      '-n',
      client.namespace,
      'route',
      'add',
      'prohibit',
      '203.0.113.0/24',
    ])
    t.match(await ask(client, '203.0.113.1', 80), /EACCES|EHOSTUNREACH|ENETUNREACH/)
    t.equal(connections(), 0)
  },
)

t.test('a block of addresses is a peer, its exception is not', async (t) => {
  const block = IdentityBit.IDENTITY_BIT_CIDR + 300
  const address = (text: string, prefixLength: number, identity: number): void => {
    const key = addrKeyLayout.write({
      prefixLength: 96 + prefixLength,
      addr: parseAddress(text),
    })
    host.tables.pl_addresses.set(
      tableKey(key),
      addrInfoLayout.write({ identity, flags: 0 }),
    )
  }
  address('198.51.100.0', 24, block)
  address('198.51.100.64', 26, block + 1)
  host.clearPolicy()
  host.policy({
    subject: client,
    direction: Direction.DIRECTION_EGRESS,
    isolated: true,
    allow: [{ peer: block }],
  })
  host.apply()
  const send = async (addresses: string[]): Promise<void> => {
    const { createSocket } = await import('node:dgram')
    for (const address of addresses) {
      const socket = createSocket('udp4')
      const code = await new Promise((resolve) =>
        socket.send('x', 9, address, (error) =>
          resolve((error as NodeJS.ErrnoException | null)?.code ?? 'sent'),
        ),
      )
      socket.close()
      console.log(`${address} ${String(code)}`)
    }
  }
  const { out } = await host.call(client, send, [
    '198.51.100.1',
    '198.51.100.65',
    '192.0.2.1',
  ])
  t.same(out.split('\n'), ['198.51.100.1 sent', '198.51.100.65 EPERM', '192.0.2.1 EPERM'])
  host.clearPolicy()
  host.apply()
})
