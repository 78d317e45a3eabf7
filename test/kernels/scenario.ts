// SPDX-License-Identifier: Apache-2.0
// What a node does, a step each, in order: each relies on those before. A step throws what is wrong.
import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { Direction, EventKind } from '../../packages/ebpf-l4/src/index.ts'
import { formatAddress, Host } from '../../packages/ebpf-l4/test/support/host.ts'

const service = '10.96.0.10'
const empty = '10.96.0.11'
const denyRule = 77
let host: Host

export const scenario: Readonly<Record<string, () => Promise<void>>> = {
  'attaches every program': async () => {
    host = await Host.create(['client', 'server'])
    const [client, server] = [host.pod('client'), host.pod('server')]
    for (const [port, protocol] of [
      [80, 6],
      [53, 17],
    ] as const) {
      const backends = [{ pod: server, port: 8080 }]
      host.service({ address: service, port, protocol, backends })
    }
    host.service({ address: empty, port: 80, backends: [] })
    // A policy, so that the programs that look at packets are attached, too; it allows what follows.
    host.policy({
      ...{ subject: server, direction: Direction.DIRECTION_INGRESS, isolated: true },
      allow: [{ peer: client }],
    })
    host.apply()
    deepEqual(host.datapath.verifyAttached(), [])
    deepEqual(host.datapath.lacking.filter(isProgram), [])
    await host.serve(server, echoServer)
  },

  'TCP to a service': async () => {
    equal(await ask(tcpAsk, service, 80), `${service}:80 hello`)
  },

  'UDP to a service, connected and not': async () => {
    equal(await ask(udpAsk, service, 53, false), `hello ${service}:53`)
    equal(await ask(udpAsk, service, 53, true), `hello ${service}:53`)
  },

  'a service without endpoints refuses at once': async () => {
    const lacks = host.datapath.lacking.some(
      ({ feature }) => feature === 'connect-errors',
    )
    equal(await ask(tcpAsk, empty, 80), lacks ? 'EPERM' : 'ECONNREFUSED')
  },

  'a flow event names both ends': async () => {
    await ask(tcpAsk, service, 80)
    const close = await host.event(({ kind }) => kind === EventKind.EVENT_CLOSE)
    equal(formatAddress(close.service), service)
    equal(close.srcIdentity, host.pod('client').identity)
    equal(close.dstIdentity, host.pod('server').identity)
  },

  'checksummed data, accelerated': async () => {
    host.datapath.setSettings({ acceleration: 'on', proxyPort: 0 })
    const redirected = (): number =>
      host.datapath.counters()['COUNTER_ACCEL_REDIRECTED'] ?? 0
    const before = redirected()
    equal(await ask(exchange, host.pod('server').ip4, 8080), 'equal')
    ok(redirected() > before, 'nothing was redirected')
    host.datapath.setSettings({ acceleration: 'off', proxyPort: 0 })
  },

  'a policy refuses with EPERM, and the event has the rule': async () => {
    const isolation = { isolated: true, rule: denyRule }
    host.clearPolicy()
    host.policy({
      ...{ subject: host.pod('server'), direction: Direction.DIRECTION_INGRESS },
      ...isolation,
    })
    host.apply()
    equal(await ask(tcpAsk, service, 80), 'EPERM')
    match(await ask(udpAsk, service, 53, false), /^(EPERM|no answer)$/)
    const deny = await host.event(({ kind }) => kind === EventKind.EVENT_DENY)
    equal(deny.rule, denyRule)
  },

  'takes everything off again': async () => {
    await host.close()
  },
}

function isProgram({ reason }: { reason: string }): boolean {
  return reason.includes('is refused')
}

async function ask<A extends unknown[]>(
  fn: (...args: A) => unknown,
  ...args: A
): Promise<string> {
  const { out, err } = await host.call(host.pod('client'), fn, ...args)
  return out === '' ? err.slice(-200) : out
}

async function echoServer(): Promise<void> {
  const { createServer } = await import('node:net')
  const { createSocket } = await import('node:dgram')
  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  })
  const udp = createSocket('udp4')
  udp.on('message', (data, from) => {
    udp.send(data, from.port, from.address, () => undefined)
  })
  await new Promise<void>((resolve) => tcp.listen(8080, '0.0.0.0', resolve))
  await new Promise<void>((resolve) => udp.bind(8080, resolve))
  console.log('ready')
}

async function tcpAsk(address: string, port: number): Promise<void> {
  const { connect } = await import('node:net')
  const socket = connect(port, address, () => socket.end('hello'))
  let text = ''
  socket.on('connect', () => (text = `${socket.remoteAddress}:${socket.remotePort} `))
  socket.on('data', (data) => (text += String(data)))
  socket.on('end', () => console.log(text))
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
}

async function udpAsk(address: string, port: number, connected: boolean): Promise<void> {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp4')
  const finish = (text: string): void => {
    clearTimeout(timer)
    console.log(text)
    socket.close()
  }
  const timer = setTimeout(() => finish('no answer'), 5000)
  const failed = (error: Error | null): void => {
    if (error) finish((error as NodeJS.ErrnoException).code ?? 'error')
  }
  socket.on('error', failed)
  socket.on('message', (data, from) => finish(`${data} ${from.address}:${from.port}`))
  if (connected) socket.connect(port, address, () => socket.send('hello', failed))
  else socket.send('hello', port, address, failed)
}

/** Messages and their answers, and a bulk that goes by TCP; compares checksums. */
async function exchange(address: string, port: number): Promise<void> {
  const { connect } = await import('node:net')
  const { createHash, randomBytes } = await import('node:crypto')
  const socket = connect(port, address)
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  let got = 0
  let put = 0
  let arrived = (): void => undefined
  socket.on('data', (data) => {
    received.update(data)
    got += data.length
    if (got === put) arrived()
  })
  await new Promise((resolve) => socket.once('connect', resolve))
  for (const size of [...Array<number>(200).fill(1000), 2 << 20, 5000]) {
    const chunk = randomBytes(size)
    sent.update(chunk)
    put += size
    const back = new Promise<void>((resolve) => (arrived = resolve))
    socket.write(chunk)
    await back
  }
  socket.end()
  console.log(sent.digest('hex') === received.digest('hex') ? 'equal' : 'not equal')
}
