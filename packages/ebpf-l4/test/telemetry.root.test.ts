// SPDX-License-Identifier: Apache-2.0
// What is told of connections that nobody refuses: opens, closes, runs that go on by TCP, and no more than was asked for.
import t from 'tap'
import {
  Direction,
  EventFlag,
  EventKind,
  type FlowEvent,
  type TelemetryLevel,
} from '../src/index.ts'
import { Host } from './support/host.ts'

const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

/** Answers each message with one byte; 0 means that a stream follows, which is answered at its end only. */
const serve = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer({ allowHalfOpen: true }, (socket) => {
    let isStream = false
    socket.on('data', (data) => {
      isStream ||= data[0] === 0
      if (!isStream) socket.write('x')
    })
    socket.on('end', () => socket.end('end'))
  }).listen(8080, '::', () => console.log('ready'))
}

const requests = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(8080, address)
  let left = 100
  socket.write('request')
  socket.on('data', () => {
    if (--left > 0) socket.write('request')
    else socket.end()
  })
  socket.on('close', () => console.log('done'))
}

const stream = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const socket = connect(8080, address)
  socket.resume()
  for (let i = 0; i < 200; i++)
    await new Promise((resolve) => socket.write(Buffer.alloc(16_384), resolve))
  socket.end()
  socket.on('close', () => console.log('done'))
}

const events = (): FlowEvent[] => host.datapath.readEvents(4096).all()
const kinds = (all: readonly FlowEvent[]): number[] => all.map(({ kind }) => kind)
const { EVENT_CLOSE, EVENT_DENY, EVENT_OPEN, EVENT_SHIFT } = EventKind

/** Sums of the connecting side. */
function sums(): { opened: number; closed: number } {
  const of = host.datapath.dump('pl_traffic').filter(({ key }) => key.passive === 0)
  const total = (field: 'opened' | 'closed'): number =>
    of.reduce((sum, { value }) => sum + Number(value[field]), 0)
  return { opened: total('opened'), closed: total('closed') }
}

t.before(() => host.serve(server, serve))

t.test('requests and answers never shift', async (t) => {
  events()
  t.equal((await host.call(client, requests, server.ip4)).out, 'done')
  const told = events()
  t.same(kinds(told), [EVENT_OPEN, EVENT_CLOSE])
  t.equal(told[1]?.flags, EventFlag.EVENT_F_ACCEL)
  t.ok((host.datapath.counters()['COUNTER_ACCEL_REDIRECTED'] ?? 0) > 100)
})

t.test('a stream shifts once, which its end tells as well', async (t) => {
  t.equal((await host.call(client, stream, server.ip4)).out, 'done')
  const told = events()
  t.same(kinds(told), [EVENT_OPEN, EVENT_SHIFT, EVENT_CLOSE])
  const [open, shift, close] = told
  t.match(shift, {
    ...{ srcIdentity: client.identity, dstIdentity: server.identity, dstPort: 8080 },
    ...{ cookie: open?.cookie, srcPort: open?.srcPort, flags: EventFlag.EVENT_F_ACCEL },
  })
  const around = Number(shift?.bytesSent)
  t.ok(around > 0 && around <= 262_144 + 65_536, `${around} bytes before`)
  t.equal(close?.flags, EventFlag.EVENT_F_ACCEL | EventFlag.EVENT_F_SHIFTED)
  t.equal(Number(close?.bytesSent), 200 * 16_384)
})

t.test('no more is told than was asked for; denials always are', async (t) => {
  for (const [telemetry, told, counted] of [
    ['sums', [], 1],
    ['off', [], 0],
    ['all', [EVENT_OPEN, EVENT_CLOSE], 1],
  ] as [TelemetryLevel, number[], number][]) {
    host.datapath.close()
    await host.open({ telemetry })
    host.clearPolicy()
    host.apply()
    events()
    const before = sums()
    const lost = host.datapath.counters()['COUNTER_EVENT_LOST']
    t.equal((await host.call(client, requests, server.ip4)).out, 'done')
    t.same(kinds(events()), told, telemetry)
    const { opened, closed } = sums()
    t.same(
      [opened - before.opened, closed - before.closed],
      [counted, counted],
      telemetry,
    )
    t.equal(host.datapath.counters()['COUNTER_EVENT_LOST'], lost, 'off is not lost')
    const direction = Direction.DIRECTION_INGRESS
    host.policy({ subject: server, direction, isolated: true })
    host.apply()
    await host.call(client, requests, server.ip4)
    t.same(kinds(events()), [EVENT_DENY], telemetry)
  }
})
