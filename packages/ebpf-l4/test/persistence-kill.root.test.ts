// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// kill -9 in the middle of an apply, again and again: policy never lapses, and whoever comes next makes it whole.
import { once } from 'node:events'
import t from 'tap'
import { diff, Direction } from '../src/index.ts'
import { Host } from './support/host.ts'
import { command, portable, startAgent } from './support/other-agent.ts'
import { checksummed, connects, echo, finish, intact } from './support/streams.ts'

const kills = 8
const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

/** The same for both pods in either version; each rule of theirs has another number, and so have thousands beside them. */
function version(rule: number): ReturnType<typeof portable> {
  host.clearPolicy()
  const direction = Direction.DIRECTION_EGRESS
  const allow = [{ peer: server, protocol: 6, port: 8080, rule }]
  host.policy({ subject: client, direction, isolated: true, rule, allow })
  for (let i = 0; i < 2000; i++) {
    const subject = 1000 + i + rule * 1000
    host.policy({
      subject,
      direction,
      isolated: true,
      rule,
      allow: [{ peer: client, rule }],
    })
  }
  return portable(host.tables)
}

t.test('an agent that is killed while it writes', async (t) => {
  const versions = [version(1), version(2)] as const
  host.apply()
  await host.serve(server, echo)
  const stream = await host.serve(client, checksummed, server.ip4)
  const denied = await host.serve(client, connects, '10.9.0.254')
  const allowed = await host.serve(client, connects, server.ip4)
  host.datapath.close()
  let torn = 0
  for (let i = 0; i < kills; i++) {
    const agent = await startAgent(host)
    t.equal(await command(agent, 'open'), 'adopted')
    const ended = once(agent, 'exit')
    void command(agent, 'churn', ...versions)
    // Somewhere in the first few applies: each takes some milliseconds.
    await new Promise((resolve) => setTimeout(resolve, 60 + i * 7))
    agent.kill('SIGKILL')
    await ended
    await host.open()
    const left = host.datapath.tables()
    version(2)
    const missing = diff(left, host.tables).length
    version(1)
    if (missing > 0 && diff(left, host.tables).length > 0) torn++
    host.datapath.close()
  }
  t.comment(`${torn} of ${kills} left neither version`)
  t.ok(torn > 0, 'some were killed in the middle')
  await host.open()
  host.apply()
  t.same(diff(host.datapath.tables(), host.tables), [])
  t.same(Object.keys((await finish(denied)) as object), ['EPERM'], 'denied throughout')
  t.same(Object.keys((await finish(allowed)) as object), ['connected'], 'allowed')
  t.same(await finish(stream), intact, 'an accelerated stream')
})
