// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { Direction, EventFlag, EventKind } from '../src/index.ts'
import { Host } from './support/host.ts'

const host = await Host.create(['client', 'server'])
const [client, server] = [host.pod('client'), host.pod('server')]
/** The client's namespace, but none of the node's cgroups: connect hooks do not see it. */
const outside = { namespace: client.namespace, cgroup: host.root.replace(/\/[^/]+$/, '') }
t.teardown(() => host.close())

const echo = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(8080, '::', () => console.log('ready'))
}

const ask = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect({ port: 8080, host: address })
  socket.setTimeout(700, () => {
    console.log('silence')
    socket.destroy()
  })
  socket.on('connect', () => socket.end('hello'))
  socket.on('data', (data) => console.log(String(data)))
  socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
}

t.before(() => host.serve(server, echo))

t.test('a SYN that no connect hook judged is dropped at the destination', async (t) => {
  host.policy({
    subject: server,
    direction: Direction.DIRECTION_INGRESS,
    isolated: true,
    rule: 5,
  })
  host.apply()
  for (const address of [server.ip4, server.ip6]) {
    t.equal((await host.call(outside, ask, address)).out, 'silence', address)
    const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY)
    t.equal(deny.rule, 5)
    t.equal(deny.srcIdentity, client.identity)
    t.equal(deny.dstIdentity, server.identity)
    t.equal(deny.dstPort, 8080)
    t.ok(deny.flags & EventFlag.EVENT_F_INGRESS)
  }
  host.clearPolicy()
  host.apply()
  t.equal((await host.call(outside, ask, server.ip4)).out, 'hello')
})

t.test("the node's own processes reach their pods in any case", async (t) => {
  host.policy({ subject: server, direction: Direction.DIRECTION_INGRESS, isolated: true })
  host.apply()
  const kubelet = { namespace: host.tag, cgroup: host.root }
  t.equal((await host.call(kubelet, ask, server.ip4)).out, 'hello')
  host.clearPolicy()
  host.apply()
})

for (const acceleration of ['off', 'on'] as const) {
  t.test(
    `an open connection that a new policy forbids is cut (acceleration ${acceleration})`,
    async (t) => {
      host.datapath.setSettings({ acceleration, proxyPort: 0 })
      /** A line every 20 ms, answered; stops when asked or when the connection breaks. */
      const chat = async (address: string): Promise<void> => {
        const { connect } = await import('node:net')
        const socket = connect({ port: 8080, host: address })
        let answers = 0
        socket.on('error', (error) => {
          console.log((error as NodeJS.ErrnoException).code)
          process.exit()
        })
        socket.on('data', () => answers++)
        process.stdin.on('data', () => {
          console.log(`answers ${answers}`)
          answers = 0
        })
        setInterval(() => socket.write('x'), 20)
        console.log('ready')
      }
      const child = await host.serve(client, chat, server.ip4)
      const answers = async (): Promise<string> => {
        const line = new Promise<string>((resolve) =>
          child.stdout?.once('data', (data) => resolve(String(data).trim())),
        )
        child.stdin?.write('?')
        return line
      }
      const wait = (ms: number): Promise<void> => new Promise((r) => setTimeout(r, ms))
      await wait(300)
      t.not(await answers(), 'answers 0')
      host.policy({
        subject: server,
        direction: Direction.DIRECTION_INGRESS,
        isolated: true,
        rule: 6,
      })
      host.apply()
      const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY)
      t.equal(deny.rule, 6)
      t.ok(deny.flags & EventFlag.EVENT_F_OPEN_CONNECTION)
      // The next line: nobody asks for the count any more.
      const end = new Promise<string>((resolve) =>
        child.stdout?.once('data', (data) => resolve(String(data).trim())),
      )
      const started = Date.now()
      t.equal(
        await end,
        acceleration === 'on' ? 'EACCES' : 'ETIMEDOUT',
        'the sender is told',
      )
      t.ok(Date.now() - started < 3000, `after ${Date.now() - started} ms`)
      child.kill()
      host.clearPolicy()
      host.apply()
      t.equal((await host.call(client, ask, server.ip4)).out, 'hello')
    },
  )
}
