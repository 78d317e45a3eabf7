// SPDX-License-Identifier: Apache-2.0
// Programs of somebody else on the same hook: theirs and ours both work, whoever came first, and ours leave theirs alone.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AttachType } from '../src/attach.ts'
import { Direction, EventFlag, EventKind } from '../src/index.ts'
import { native } from '../src/native.ts'
import { Host } from './support/host.ts'
import { echo } from './support/streams.ts'

const host = await Host.create(['client', 'server'])
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const object = join(t.testdir({}), 'other.bpf.o')
const source = join(import.meta.dirname, 'support/other.bpf.c')
const machine = execFileSync('cc', ['-print-multiarch'], { encoding: 'utf8' }).trim()
const flags = ['-O2', '-g', '-target', 'bpf', `-I/usr/include/${machine}`]
execFileSync('clang', [...flags, '-Wall', '-Werror', '-c', source, '-o', object])
const other = native.objectOpen(object, '')
native.objectLoad(other)
const program = native.objectProgramFd(other, 'other_connect4')
t.teardown(() => native.objectClose(other))

/** Puts it on the node's cgroup for as long as `during` takes, beside what is there. */
async function withOther(during: () => Promise<void>): Promise<void> {
  const directory = native.openDirectory(host.root)
  const link = native.linkCreate(program, directory, AttachType.cgroupInet4Connect)
  native.closeFd(directory)
  try {
    await during()
  } finally {
    native.closeFd(link)
  }
}

const connect = async (address: string, port: number): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(port, address)
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
const ask = async (address: string, port: number): Promise<string> =>
  (await host.call(client, connect, address, port)).out

t.before(async () => {
  host.service({
    address: '10.96.0.1',
    port: 80,
    backends: [{ pod: server, port: 8080 }],
  })
  host.policy({
    ...{ subject: server, direction: Direction.DIRECTION_INGRESS, isolated: true },
    ...{ rule: 5, allow: [{ peer: client, protocol: 6, port: 8080 }] },
  })
  host.apply()
  await host.serve(server, echo)
})

/** Both are asked, and ours is the same after a restart of the agent. */
async function bothWork(t: Test): Promise<void> {
  for (const when of ['attached', 'after a restart of the agent']) {
    t.equal(await ask(server.ip4, 9999), 'EPERM', `${when}: theirs refuses`)
    t.equal(await ask('10.96.0.1', 80), 'connected', `${when}: ours translates`)
    t.equal(await ask(server.ip4, 8081), 'EPERM', `${when}: ours refuses`)
    t.same(host.datapath.verifyAttached(), [])
    host.datapath.close()
    await host.open()
    host.apply()
  }
}

t.test('theirs after ours', (t) => withOther(() => bothWork(t)))

t.test('theirs before ours', (t) =>
  withOther(async () => {
    rmSync(join(host.pinDir, 'links/pl_connect4'))
    host.datapath.attach()
    await bothWork(t)
    t.equal(
      await ask(server.ip4, 7777),
      'connected',
      'ours judges what theirs made of it',
    )
  }),
)

t.test('one after ours changes where the connection goes', async (t) => {
  rmSync(join(host.pinDir, 'links/pl_connect4'))
  host.datapath.attach()
  host.clearPolicy()
  host.policy({
    ...{ subject: server, direction: Direction.DIRECTION_INGRESS, isolated: true },
    ...{ rule: 6, allow: [{ peer: client, protocol: 6, port: 7777 }] },
  })
  host.apply()
  await withOther(async () => {
    // Ours let it pass to port 7777; to 8080, where it arrives, it may not.
    t.equal(await ask(server.ip4, 7777), 'silence')
    const deny = await host.event((e) => e.kind === EventKind.EVENT_DENY && e.rule === 6)
    t.equal(deny.dstPort, 8080)
    t.ok(deny.flags & EventFlag.EVENT_F_INGRESS, 'the destination believes nobody')
  })
  t.equal(await ask(server.ip4, 8080), 'EPERM', 'theirs is gone, ours is not')
})

t.test('one that is there alone keeps ours out, and we say so', async (t) => {
  rmSync(join(host.pinDir, 'links/pl_connect4'))
  const directory = native.openDirectory(host.root)
  t.teardown(() => native.closeFd(directory))
  const alone = (): void =>
    native.progAttach(program, directory, AttachType.cgroupInet4Connect)
  // The kernel lets go of ours a moment later.
  for (let i = 0; ; i++) {
    try {
      alone()
      break
    } catch (error) {
      if (i === 100) throw error
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  t.throws(() => host.datapath.attach(), {
    code: 'NOT_PERMITTED',
    message: /attach pl_connect4: .*another program is on this hook for itself alone/,
  })
})
