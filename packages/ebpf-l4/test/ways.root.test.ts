// SPDX-License-Identifier: Apache-2.0
// The ways in which programs use sockets, over accelerated connections: every byte, in order, and nobody waits for ever.
import t from 'tap'
import { ExeVerdict } from '../src/index.ts'
import { Host } from './support/host.ts'
import { compile, nextLine } from './support/program.ts'

const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())
const scratch = t.testdir()
const program = compile('talk', scratch)

const redirected = (): number => host.datapath.counters()['COUNTER_ACCEL_REDIRECTED'] ?? 0

/** A conversation; what the caller prints, and how many messages went past TCP. */
async function talk(way: string, rounds: number, size: number) {
  const before = redirected()
  const listener = host.start(server, [program, 'serve', '9100', way])
  const ready = await nextLine(listener)
  if (ready !== 'ready') throw new Error(ready)
  const ended = nextLine(listener)
  const argv = [program, 'call', server.ip4, '9100', way, `${rounds}`, `${size}`]
  const { out } = await host.run(client, argv, 60_000)
  return { out, server: await ended, redirected: redirected() - before }
}

const ways = ['plain', 'scatter', 'more', 'peek', 'edge', 'inline', 'sendfile']
for (const way of ways) {
  t.test(`${way}: small messages go past TCP`, async (t) => {
    const { out, server, redirected } = await talk(way, 2000, 3000)
    t.match(out, /^ok \d+$/)
    t.equal(server, 'ended: 0')
    t.ok(redirected > 1000, `${redirected} messages`)
  })
  t.test(`${way}: large ones go both ways`, async (t) => {
    const { out, server } = await talk(way, 40, 1 << 20)
    t.match(out, /^ok \d+$/)
    t.equal(server, 'ended: 0')
  })
}

t.test('no wake-up is missed by an edge-triggered reader', async (t) => {
  t.match((await talk('edge', 20_000, 64)).out, /^ok \d+$/)
})

t.test('zero-copy is left to TCP, which tells when pages are free', async (t) => {
  const { out, redirected } = await talk('zerocopy', 300, 60_000)
  t.match(out, /^ok \d+$/)
  t.equal(redirected, 0)
})

t.test('splice: Auto leaves a program alone that may use it', async (t) => {
  host.datapath.setSettings({ acceleration: 'auto', proxyPort: 0 })
  await talk('plain', 1, 1) // an executable that is not known is asked for
  for (const { key } of host.datapath.dump('pl_executables'))
    host.datapath.setExecutable(key.inode, key.device, ExeVerdict.EXE_UNFIT)
  const { out, server, redirected } = await talk('splice', 200, 3000)
  t.match(out, /^ok \d+$/)
  t.equal(server, 'ended: 0')
  t.equal(redirected, 0)
  host.datapath.setSettings({ acceleration: 'on', proxyPort: 0 })
})

t.test('splice: what Auto is for: forced, the reader never sees a byte', async (t) => {
  const { out } = await talk('splice', 50, 3000)
  t.match(out, /^recv: Resource temporarily unavailable|closed early/) // both give up after 5 s
})

/** As if the agent had found every executable fit. */
function vouch(): void {
  for (const { key } of host.datapath.dump('pl_executables'))
    host.datapath.setExecutable(key.inode, key.device, ExeVerdict.EXE_PLAIN)
}

const blocking = compile('block', scratch)

async function block(way: string): Promise<string> {
  const listener = host.start(server, [blocking, 'serve', way])
  const ready = await nextLine(listener)
  if (ready !== 'ready') throw new Error(ready)
  vouch()
  const ended = nextLine(listener)
  const { out } = await host.run(client, [blocking, 'call', way, server.ip4])
  listener.kill()
  await ended
  return out
}

const reset = 'recv: Connection reset by peer'
for (const [way, plain] of [
  ['signal', 'hello'],
  ['threads', 'hello'],
  ['reset', reset],
] as const) {
  t.test(`a reader that blocks, ${way}: Auto leaves it to TCP`, async (t) => {
    t.equal(await block(way), 'recv: Resource temporarily unavailable', 'forced')
    host.datapath.setSettings({ acceleration: 'auto', proxyPort: 0 })
    await block(way) // asks for both executables
    const before = redirected()
    t.equal(await block(way), plain)
    t.equal(redirected(), before)
    host.datapath.setSettings({ acceleration: 'on', proxyPort: 0 })
  })
}
