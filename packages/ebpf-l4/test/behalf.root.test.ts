// SPDX-License-Identifier: Apache-2.0
// Two nodes: the destination's node sees for whom another node's proxy connects, and believes nobody else.
import { join } from 'node:path'
import t from 'tap'
import { Direction, EventKind, ReservedIdentity } from '../src/index.ts'
import { cable } from './support/cable.ts'
import { Host } from './support/host.ts'
import { compile, nextLine } from './support/program.ts'

const addon = join(import.meta.dirname, '../../node-l7-proxy/.build/sockopt.node')
const near = await Host.create(['client', 'forger'])
const far = await Host.create(['server'])
cable(near, far)
const [client, forger] = [near.pod('client'), near.pod('forger')]
const server = far.pod('server')
t.teardown(async () => {
  await near.close()
  await far.close()
})

const echo = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(8080, () => console.log('ready'))
}

/** What the proxy does for a client: one connection and one round trip, or the error. */
const onBehalfOf = async (
  addonPath: string,
  identity: number,
  address: string,
): Promise<void> => {
  const { createRequire } = await import('node:module')
  const { Socket } = await import('node:net')
  const native = createRequire('file:///')(addonPath) as {
    openSocket(family: number, identity: number): number
  }
  const socket = new Socket({ fd: native.openSocket(4, identity) })
  const timer = setTimeout(() => {
    console.log('silence')
    process.exit()
  }, 1500)
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
  socket.on('close', () => clearTimeout(timer))
  socket.on('data', (data) => {
    console.log(String(data))
    socket.end()
  })
  socket.connect(8080, address, () => socket.write('hello'))
}

/** Every identity may leave; only the client may come in. */
function onlyClient(): void {
  far.policy({
    subject: server,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 7,
    allow: [{ peer: client, port: 8080, protocol: 6, rule: 8 }],
  })
  far.apply()
}

t.before(async () => {
  await far.serve(server, echo)
})

const through = async (identity: number): Promise<string> =>
  (await near.call(near.proxy, onBehalfOf, addon, identity, server.ip4)).out

t.test('the destination sees the client, not the node', async (t) => {
  t.equal(await through(client.identity), 'hello')
  const open = await far.event((e) => e.kind === EventKind.EVENT_OPEN)
  t.equal(open.srcIdentity, client.identity)
  t.equal(open.dstIdentity, server.identity)
})

t.test('its policy judges the client', async (t) => {
  onlyClient()
  t.equal(await through(client.identity), 'hello')
  t.equal(await through(forger.identity), 'silence')
  const deny = await far.event((e) => e.kind === EventKind.EVENT_DENY)
  t.equal(deny.srcIdentity, forger.identity)
  t.equal(deny.rule, 7)
})

t.test('a process of another node that speaks for nobody is that node', async (t) => {
  const node = { namespace: near.tag, cgroup: near.root }
  const plain = async (address: string): Promise<void> => {
    const { connect } = await import('node:net')
    const socket = connect(8080, address, () => console.log('connected'))
    socket.setTimeout(700, () => {
      console.log('silence')
      process.exit()
    })
  }
  t.equal((await near.call(node, plain, server.ip4)).out, 'silence')
  const deny = await far.event((e) => e.kind === EventKind.EVENT_DENY)
  t.equal(deny.srcIdentity, ReservedIdentity.IDENTITY_REMOTE_NODE)
})

t.test('open connections are judged again as the client', async (t) => {
  const talker = async (path: string, identity: number, address: string) => {
    const { createRequire } = await import('node:module')
    const { Socket } = await import('node:net')
    const native = createRequire('file:///')(path) as {
      openSocket(family: number, identity: number): number
    }
    const socket = new Socket({ fd: native.openSocket(4, identity) })
    socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
    socket.on('data', (data) => console.log(String(data)))
    socket.connect(8080, address, () => console.log('ready'))
    process.stdin.on('data', (data) => socket.write(data))
  }
  const open = await near.serve(near.proxy, talker, addon, client.identity, server.ip4)
  const say = async (word: string): Promise<string> => {
    const line = nextLine(open)
    open.stdin?.write(word)
    return line
  }
  t.equal(await say('one'), 'one')
  far.policy({
    subject: 999,
    direction: Direction.DIRECTION_EGRESS,
    isolated: true,
  })
  far.apply()
  t.equal(await say('two'), 'two', 'still allowed, still the client')
  far.tables.pl_rules.clear()
  far.apply()
  t.match(await say('three'), /ETIMEDOUT|ECONNRESET/, 'no longer allowed')
})

t.test('a pod that claims to be another is judged as itself', async (t) => {
  onlyClient()
  const program = compile('syn', t.testdir())
  const argv = [program, forger.ip4, server.ip4, '8080', `${client.identity}`]
  t.same(await near.run(forger, argv), { code: 0, out: '', err: '' })
  const deny = await far.event(
    (e) => e.kind === EventKind.EVENT_DENY && e.srcPort === 4444,
  )
  t.equal(deny.srcIdentity, forger.identity)

  // The very same segment from the node's address is believed: the option was well made.
  const denied = far.datapath.counters()['COUNTER_DENY_INGRESS']
  const node = { namespace: near.tag, cgroup: near.root }
  const own = [program, near.ip4, server.ip4, '8080', `${client.identity}`]
  t.same(await near.run(node, own), { code: 0, out: '', err: '' })
  t.equal(await through(client.identity), 'hello')
  t.equal(far.datapath.counters()['COUNTER_DENY_INGRESS'], denied)
})

t.test('every one of many connections is known', async (t) => {
  const many = async (path: string, identity: number, address: string) => {
    const { createRequire } = await import('node:module')
    const { Socket } = await import('node:net')
    const native = createRequire('file:///')(path) as {
      openSocket(family: number, identity: number): number
    }
    const one = (): Promise<void> =>
      new Promise((resolve) => {
        const socket = new Socket({ fd: native.openSocket(4, identity) })
        socket.connect(8080, address, () => socket.end('bye'))
        socket.on('close', () => resolve()).resume()
      })
    for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 50 }, one))
    console.log('done')
  }
  far.datapath.readEvents(4096)
  const { out } = await near.call(near.proxy, many, addon, client.identity, server.ip4)
  t.equal(out, 'done')
  const opens = far.datapath
    .readEvents(8192)
    .all()
    .filter(({ kind }) => kind === EventKind.EVENT_OPEN)
  t.equal(opens.length, 1000)
  t.same([...new Set(opens.map((e) => e.srcIdentity))], [client.identity])
})
