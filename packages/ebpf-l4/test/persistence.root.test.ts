// SPDX-License-Identifier: Apache-2.0
// Design 4.8: what is in the kernel outlives the process that put it there.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cgroup2Mount, diff, Direction, openPins } from '../src/index.ts'
import { Host } from './support/host.ts'

const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const backend = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(8080, '::', () => console.log('ready'))
}
/** Connects every 2 ms while told to, and counts what is not a refusal. */
const probe = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const results: Record<string, number> = {}
  let more = true
  process.stdin.once('data', () => (more = false))
  console.log('ready')
  while (more) {
    const code = await new Promise<string>((resolve) => {
      const socket = connect(8080, address)
      socket.on('connect', () => resolve('connected'))
      socket.on('error', (error) =>
        resolve((error as NodeJS.ErrnoException).code ?? 'error'),
      )
      socket.on('close', () => socket.destroy())
      setImmediate(() => socket.end())
    })
    results[code] = (results[code] ?? 0) + 1
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  console.log(JSON.stringify(results))
  process.exit()
}
/** Writes numbered lines on one connection and checks their echo, until told. */
const talk = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(8080, address)
  let expected = 0
  let wrong = 0
  let text = ''
  socket.on('data', (data) => {
    text += String(data)
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) if (Number(line) !== expected++) wrong++
  })
  let i = 0
  const timer = setInterval(() => socket.write(`${i++}\n`), 1)
  process.stdin.once('data', () => {
    clearInterval(timer)
    socket.end()
    socket.on('close', () => console.log(JSON.stringify({ lost: i - expected, wrong })))
  })
  socket.on('connect', () => console.log('ready'))
}
const finish = async (
  child: import('node:child_process').ChildProcess,
): Promise<unknown> => {
  const line = new Promise<string>((resolve) =>
    child.stdout?.once('data', (data) => resolve(String(data))),
  )
  child.stdin?.write('end')
  return JSON.parse(await line)
}

t.test(
  'twenty restarts: policy never lapses, an accelerated connection loses nothing',
  async (t) => {
    await host.serve(server, backend)
    const talker = await host.serve(client, talk, server.ip4)
    host.policy({
      subject: server,
      direction: Direction.DIRECTION_INGRESS,
      isolated: true,
      rule: 1,
      allow: [{ peer: client, protocol: 6, port: 8080 }],
    })
    host.policy({
      subject: client,
      direction: Direction.DIRECTION_EGRESS,
      isolated: true,
      rule: 2,
      allow: [{ peer: server, protocol: 6, port: 8080 }],
    })
    host.apply()
    const denied = await host.serve(client, probe, '10.9.0.254')
    const allowed = await host.serve(client, probe, server.ip4)
    for (let i = 0; i < 20; i++) {
      host.datapath.close()
      await host.open()
      t.ok(host.datapath.adopted)
      const { writes, deletes } = host.apply()
      t.equal(writes + deletes, 0, 'nothing to write: the maps were adopted')
      t.same(host.datapath.verifyAttached(), [])
    }
    t.same(Object.keys((await finish(denied)) as object), ['EPERM'], 'denied throughout')
    t.same(
      Object.keys((await finish(allowed)) as object),
      ['connected'],
      'allowed throughout',
    )
    t.same(await finish(talker), { lost: 0, wrong: 0 })
    host.clearPolicy()
    host.apply()
  },
)

t.test('a second agent is refused while the first lives', async (t) => {
  const second = async (index: string, options: object): Promise<void> => {
    const { Datapath } = (await import(index)) as typeof import('../src/index.ts')
    try {
      await Datapath.open(options as never)
      console.log('opened')
    } catch (error) {
      console.log((error as { code: string }).code)
    }
  }
  const { out } = await host.call(
    { namespace: host.tag, cgroup: cgroup2Mount() },
    second,
    join(import.meta.dirname, '../src/index.ts'),
    {
      objectDir: join(import.meta.dirname, '../../../bpf/.output'),
      pinDir: host.pinDir,
      cgroupRoot: host.root,
      proxyCgroup: host.proxyCgroup,
    },
  )
  t.equal(out, 'FOREIGN_OWNER')
})

t.test('a link that somebody removed is noticed and made again', async (t) => {
  rmSync(join(host.pinDir, 'links/pl_connect4'))
  // The kernel lets go of the link a moment after its last reference.
  for (let i = 0; i < 100 && host.datapath.verifyAttached().length === 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.match(host.datapath.verifyAttached(), [/pl_connect4 is not effective/])
  host.datapath.attach()
  t.same(host.datapath.verifyAttached(), [])
})

t.test('packets are judged while some policy exists, and only then', (t) => {
  const hooks = (): string[] =>
    readdirSync(join(host.pinDir, 'links')).filter((name) => /ingress|egress/.test(name))
  t.same(hooks(), [])
  host.policy({ subject: server, direction: Direction.DIRECTION_INGRESS, isolated: true })
  host.apply()
  t.same(hooks().sort(), ['pl_egress', 'pl_ingress'])
  t.same(host.datapath.verifyAttached(), [])
  host.clearPolicy()
  host.apply()
  t.same(hooks(), [])
  t.same(host.datapath.verifyAttached(), [])
  t.end()
})

t.test('a pin directory elsewhere is refused', (t) => {
  t.throws(() => openPins('/tmp/pillion-pins'), { code: 'NO_BPFFS' })
  t.end()
})

t.test('maps hold exactly what was applied', (t) => {
  t.same(diff(host.datapath.tables(), host.tables), [])
  t.end()
})
