// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// An agent of another build, whose maps have another layout: loaded beside, filled, swapped in; and the way back.
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import * as l4 from '../src/index.ts'
import { Host, parseAddress } from './support/host.ts'
import { command, otherLayout, portable, startAgent } from './support/other-agent.ts'
import { checksummed, connects, echo, finish, intact } from './support/streams.ts'

const { Direction } = l4
const host = await Host.create(['client', 'plain', 'other', 'server'], {
  acceleration: 'on',
})
const [client, plain] = [host.pod('client'), host.pod('plain')]
const [other, server] = [host.pod('other'), host.pod('server')]
t.teardown(() => host.close())

const index = otherLayout(join(t.testdir({}), 'build'))
const layouts = (): string[] =>
  readdirSync(host.pinDir).filter((name) => name.startsWith('maps-'))

/** Nobody leaves but for the server, `other` only while that is open to it. */
function policies(open: boolean): void {
  host.clearPolicy()
  for (const subject of [client, plain, other]) {
    host.policy({
      ...{ subject, direction: Direction.DIRECTION_EGRESS, isolated: true, rule: 2 },
      allow: open || subject !== other ? [{ peer: server, protocol: 6, port: 8080 }] : [],
    })
  }
}

t.test('there and back, under traffic', async (t) => {
  const key = l4.addrKeyLayout.write({ prefixLength: 128, addr: parseAddress(plain.ip4) })
  const flags = l4.AddrFlag.ADDR_LOCAL | l4.AddrFlag.ADDR_ACCEL_OFF
  const info = l4.addrInfoLayout.write({ identity: plain.identity, flags })
  host.tables.pl_addresses.set(l4.tableKey(key), info)
  policies(true)
  host.apply()
  await host.serve(server, echo)
  const accelerated = await host.serve(client, checksummed, server.ip4)
  const byTcp = await host.serve(plain, checksummed, server.ip4)
  const denied = await host.serve(plain, connects, '10.9.0.254')
  const allowed = await host.serve(plain, connects, server.ip4)
  const redirected = (): number =>
    host.datapath.counters()['COUNTER_ACCEL_REDIRECTED'] ?? 0
  t.ok(redirected() > 0, 'one of both streams is accelerated')

  const agent = await startAgent(host, index)
  t.equal(await command(agent, 'open'), 'FOREIGN_OWNER', 'while we live, it may not')
  host.datapath.close()
  t.equal(await command(agent, 'open'), 'new', 'it has maps of its own')
  t.equal(await command(agent, 'apply', portable(host.tables)), 'applied')
  t.equal(layouts().length, 2, 'the old maps stay: a live connection is in them')
  const refused = host.open().then(
    () => 'opened',
    (error: unknown) => (error as l4.BpfError).code,
  )
  t.equal(await refused, 'FOREIGN_OWNER', 'nor may we while it lives')

  policies(false)
  t.equal(await command(agent, 'apply', portable(host.tables)), 'applied')
  const late = await host.serve(other, connects, server.ip4)
  t.same(Object.keys((await finish(late)) as object), ['EPERM'], 'its policy is in force')
  agent.kill('SIGKILL')
  await once(agent, 'exit')

  await host.open()
  t.ok(host.datapath.adopted, 'back: the maps that were left behind are found')
  const still = await host.serve(other, connects, server.ip4)
  t.same(Object.keys((await finish(still)) as object), ['EPERM'], 'the policy of today')
  host.datapath.setSettings({ acceleration: 'on', proxyPort: 0 })
  host.apply()
  t.same(host.datapath.verifyAttached(), [])
  t.same(l4.diff(host.datapath.tables(), host.tables), [], 'what was left is made right')
  const after = await host.serve(other, connects, server.ip4)
  t.same(Object.keys((await finish(after)) as object), ['EPERM'], 'as before')

  t.same(Object.keys((await finish(denied)) as object), ['EPERM'], 'denied throughout')
  t.same(Object.keys((await finish(allowed)) as object), ['connected'], 'allowed')
  t.same(await finish(byTcp), intact, 'the stream by TCP')
  t.same(await finish(accelerated), intact, 'the accelerated stream')
})

t.test('maps of another layout go when nothing is in them', async (t) => {
  host.datapath.close()
  await host.open()
  host.apply()
  t.same(layouts(), [`maps-${l4.layoutHash}`])
})
