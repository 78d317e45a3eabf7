// SPDX-License-Identifier: Apache-2.0
// Design 4.8: what is in the kernel outlives the process that put it there.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cgroup2Mount, diff, Direction, openPins } from '../src/index.ts'
import { Host } from './support/host.ts'
import { checksummed, connects, echo, finish, intact } from './support/streams.ts'

const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

t.test(
  'twenty restarts: policy never lapses, an accelerated connection loses nothing',
  async (t) => {
    await host.serve(server, echo)
    const talker = await host.serve(client, checksummed, server.ip4)
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
    const denied = await host.serve(client, connects, '10.9.0.254')
    const allowed = await host.serve(client, connects, server.ip4)
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
    t.same(await finish(talker), intact)
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
