// SPDX-License-Identifier: Apache-2.0
// A reader that sleeps in TCP's own receive must not be overtaken by what is redirected past TCP.
import t from 'tap'
import { Host } from './support/host.ts'
import { compile, nextLine } from './support/program.ts'

const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const redirected = (): number => host.datapath.counters()['COUNTER_ACCEL_REDIRECTED'] ?? 0

/** More than may be redirected in one run: the reader's first bytes are, the last go by TCP. */
const bulkBytes = 300_000
const readFirst = 262_144
const messageBytes = 100
const messages = 100

/** The bulk, then after "k" small messages one by one, then after "a" some more of them. */
const send = async (
  address: string,
  bulkBytes: number,
  messageBytes: number,
  messages: number,
): Promise<void> => {
  const { connect } = await import('node:net')
  const { setTimeout: pause } = await import('node:timers/promises')
  const socket = connect(9001, address)
  socket.setNoDelay(true)
  let offset = 0
  const write = (bytes: number): void => {
    socket.write(Buffer.from(Array.from({ length: bytes }, (_, i) => (offset + i) % 251)))
    offset += bytes
  }
  const words = socket.iterator({ destroyOnReturn: false })
  await new Promise((resolve) => socket.once('connect', resolve))
  await pause(20) // the other end must be there, too: what is sent before goes by TCP
  write(bulkBytes)
  await words.next()
  // One at a time: the reader is to sleep between them.
  for (let i = 0; i < messages; i++, await pause(2)) write(messageBytes)
  await words.next()
  for (let i = 0; i < messages; i++, await pause(2)) write(messageBytes)
  socket.end()
}

t.test(
  'MSG_WAITALL gets every byte in order; an answer brings acceleration back',
  async (t) => {
    const rest = bulkBytes - readFirst + messages * messageBytes
    const program = compile('waitall', t.testdir())
    const reader = host.start(server, [program, '9001', `${readFirst}`, `${rest}`])
    t.equal(await nextLine(reader), 'ready')
    const before = redirected()
    const [got, sender] = [
      nextLine(reader),
      host.call(client, send, server.ip4, bulkBytes, messageBytes, messages),
    ]
    t.equal(await got, `at once ${rest} wrong 0`)
    const between = redirected()
    t.ok(between > before, 'the connection is accelerated')
    const tail = nextLine(reader)
    reader.stdin?.write('\n')
    t.equal(await tail, `afterwards ${messages * messageBytes} wrong 0`)
    t.ok(redirected() > between + 1, 'and again after the answer')
    t.same(await sender, { code: 0, out: '', err: '' })
  },
)
