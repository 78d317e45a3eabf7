// SPDX-License-Identifier: Apache-2.0
// Redirect to the proxy, ORIGIN and ON_BEHALF_OF, the dead-man switch. The stand-in for the proxy is a process in the
// proxy's cgroup, without any capability, that uses the proxy's own addon.
import { join } from 'node:path'
import t from 'tap'
import { Direction, FailureMode, ProxyState } from '../src/index.ts'
import { originLayout } from '../src/gen/layout.ts'
import { formatAddress, Host, parseAddress } from './support/host.ts'
import { nextLine } from './support/program.ts'

const addon = join(import.meta.dirname, '../../node-l7-proxy/.build/sockopt.node')
const host = await Host.create(
  ['client', 'server'],
  {
    proxy4: parseAddress('10.9.0.254'),
    proxy6: parseAddress('fd09::fe'),
    proxyPort: 15001,
  },
  { deadmanMs: 400 },
)
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const setpriv = [
  'setpriv',
  '--reuid=65534',
  '--regid=65534',
  '--clear-groups',
  '--inh-caps=-all',
  '--bounding-set=-all',
  '--no-new-privs',
]

/** Beats as told on stdin (state), answers every connection with its origin in hex. */
const proxy = async (addonPath: string): Promise<void> => {
  const { createRequire } = await import('node:module')
  const { createServer } = await import('node:net')
  type Handled = { _handle: { fd: number } }
  const native = createRequire('file:///')(addonPath) as {
    getOrigin(fd: number, buffer: Buffer): boolean
    setHeartbeat(fd: number, state: number, pid: number): void
  }
  const server = createServer((socket) => {
    const origin = Buffer.alloc(64)
    const found = native.getOrigin((socket as unknown as Handled)._handle.fd, origin)
    socket.on('error', () => undefined)
    socket.end(found ? origin.toString('hex') : 'no origin')
  })
  let state = 1
  const beat = (): void => {
    if (state !== 9) {
      native.setHeartbeat((server as unknown as Handled)._handle.fd, state, process.pid)
    }
  }
  process.stdin.on('data', (data) => {
    state = Number(data)
    beat()
    console.log('told')
  })
  server.listen(15001, '::', () => {
    beat()
    setInterval(beat, 100)
    console.log('ready')
  })
}

const startProxy = async (): Promise<import('node:child_process').ChildProcess> => {
  const code = `await (${proxy.toString()})(${JSON.stringify(addon)})`
  const child = host.start(host.proxy, [
    ...setpriv,
    process.execPath,
    '--input-type=module',
    '-e',
    code,
  ])
  child.stderr?.on('data', (data) => process.stderr.write(data as Buffer))
  await new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()))
  return child
}

const backend = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => socket.end('backend')).listen(8080, '::', () =>
    console.log('ready'),
  )
}

const ask = async (address: string, port: number): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(port, address)
  let text = ''
  socket.on('data', (data) => (text += String(data)))
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
  socket.on('end', () => console.log(text))
}
const answer = async (address: string, port = 80): Promise<string> =>
  (await host.call(client, ask, address, port)).out

let serviceId = 0
t.before(async () => {
  const backends = [{ pod: server, port: 8080 }]
  serviceId = host.service({
    address: '10.96.0.1',
    port: 80,
    l7: true,
    failureMode: FailureMode.FAILURE_BYPASS,
    backends,
  })
  host.service({
    address: '10.96.0.2',
    port: 80,
    l7: true,
    failureMode: FailureMode.FAILURE_REJECT,
    backends,
  })
  host.service({
    address: 'fd96::1',
    port: 80,
    l7: true,
    failureMode: FailureMode.FAILURE_BYPASS,
    backends: [{ pod: server, port: 8080, ip6: true }],
  })
  host.apply()
  await host.serve(server, backend)
})

t.test('before the first heartbeat the failure mode holds', async (t) => {
  t.equal(await answer('10.96.0.1'), 'backend')
  t.equal(await answer('10.96.0.2'), 'ECONNREFUSED')
})

t.test(
  'a declared service goes to the proxy, which learns who asked for what',
  async (t) => {
    const child = await startProxy()
    for (const address of ['10.96.0.1', 'fd96::1']) {
      const origin = originLayout.read(Buffer.from(await answer(address), 'hex'))
      t.equal(formatAddress(origin.dst), address)
      t.equal(origin.dstPort, 80)
      t.equal(formatAddress(origin.src), address.includes(':') ? client.ip6 : client.ip4)
      t.equal(origin.identity, client.identity)
      if (address === '10.96.0.1') t.equal(origin.service, serviceId)
      t.not(origin.cgroup, 0n)
      t.not(origin.cookie, 0n)
    }
    t.equal(await answer('10.9.0.254', 15001), 'no origin', 'a direct hit has none')
    t.equal(
      host.datapath.dump('pl_origins').length,
      0,
      'entries go with their connections',
    )
    child.kill('SIGKILL')
    await new Promise((resolve) => child.on('exit', resolve))
  },
)

t.test('the origin outlives a client that is gone before it is asked for', async (t) => {
  /** Asks for the origin of its one connection not before it is told to. */
  const slow = async (addonPath: string): Promise<void> => {
    const { createRequire } = await import('node:module')
    const { createServer } = await import('node:net')
    type Handled = { _handle: { fd: number } }
    const native = createRequire('file:///')(addonPath) as {
      getOrigin(fd: number, buffer: Buffer): boolean
      setHeartbeat(fd: number, state: number, pid: number): void
    }
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let text = ''
      socket.on('data', (data) => (text += String(data)))
      process.stdin.once('data', () => {
        const origin = Buffer.alloc(64)
        const found = native.getOrigin((socket as unknown as Handled)._handle.fd, origin)
        console.log(`${text} ${found ? origin.toString('hex') : 'no origin'}`)
      })
    })
    const beat = (): void =>
      native.setHeartbeat((server as unknown as Handled)._handle.fd, 1, process.pid)
    server.listen(15001, '::', () => {
      beat()
      setInterval(beat, 100)
      console.log('ready')
    })
  }
  const forget = async (address: string): Promise<void> => {
    const { connect } = await import('node:net')
    const socket = connect(80, address, () => {
      socket.write('forget', () => socket.destroy())
    })
    socket.on('close', () => console.log('gone'))
  }
  const child = await host.serve(host.proxy, slow, addon)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await new Promise((resolve) => child.on('exit', resolve))
  })
  t.equal((await host.call(client, forget, '10.96.0.2')).out, 'gone')
  t.equal(host.datapath.dump('pl_origins').length, 0, 'nothing is left of the client')
  const line = nextLine(child)
  child.stdin?.write('ask')
  const [, hex] = /^forget ([0-9a-f]{128})$/.exec(await line) ?? []
  if (hex === undefined) return t.fail('no origin')
  const origin = originLayout.read(Buffer.from(hex, 'hex'))
  t.equal(formatAddress(origin.dst), '10.96.0.2')
  t.equal(origin.identity, client.identity)
})

t.test('a killed proxy is known at once, a stalled one in 400 ms', async (t) => {
  t.equal(await answer('10.96.0.1'), 'backend', 'killed: the listener is gone')
  t.equal(host.datapath.proxyState().state, ProxyState.PROXY_GONE)
  const child = await startProxy()
  t.match(await answer('10.96.0.1'), /^[0-9a-f]{128}$/)
  child.kill('SIGSTOP')
  await new Promise((resolve) => setTimeout(resolve, 450))
  t.equal(await answer('10.96.0.1'), 'backend', 'stalled: bypass')
  t.equal(await answer('10.96.0.2'), 'ECONNREFUSED', 'stalled: reject')
  child.kill('SIGCONT')
  const until = Date.now() + 3000
  while (host.datapath.proxyState().ageMs > 200 && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.match(await answer('10.96.0.1'), /^[0-9a-f]{128}$/, 'and back')
  child.stdin?.write(String(ProxyState.PROXY_DRAINING))
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  t.equal(await answer('10.96.0.1'), 'backend', 'draining without a successor')
  child.kill('SIGKILL')
})

t.test('an upstream connection is judged as the one it is for', async (t) => {
  host.policy({
    subject: server,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 5,
    allow: [{ peer: 777 }],
  })
  host.apply()
  const upstream = async (addonPath: string, address: string): Promise<void> => {
    const { createRequire } = await import('node:module')
    const { Socket } = await import('node:net')
    const native = createRequire('file:///')(addonPath) as {
      openSocket(family: number, identity: number): number
    }
    for (const identity of [300, 777]) {
      const fd = native.openSocket(4, identity)
      const socket = new Socket({
        fd,
        readable: true,
        writable: true,
        manualStart: true,
      } as never)
      await new Promise<void>((resolve) => {
        socket.on('error', (e) => console.log((e as NodeJS.ErrnoException).code))
        socket.on('data', (data) => console.log(String(data)))
        socket.on('close', () => resolve())
        socket.connect(8080, address)
      })
    }
  }
  const { out, err } = await host.call(host.proxy, upstream, addon, server.ip4)
  t.equal(out, 'EPERM\nbackend', err)
  host.clearPolicy()
  host.apply()
})

t.test('nobody but the proxy can use the socket options', async (t) => {
  const attempt = async (addonPath: string): Promise<void> => {
    const { createRequire } = await import('node:module')
    const native = createRequire('file:///')(addonPath) as {
      openSocket(family: number, identity: number): number
    }
    try {
      native.openSocket(4, 777)
      console.log('accepted')
    } catch (error) {
      console.log((error as NodeJS.ErrnoException).code)
    }
  }
  t.equal((await host.call(client, attempt, addon)).out, 'ENOPROTOOPT')
})
