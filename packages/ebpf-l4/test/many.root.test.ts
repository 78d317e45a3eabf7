// SPDX-License-Identifier: Apache-2.0
// Thousands of accelerated connections at once, and ends that stop sending in either order.
import t from 'tap'
import { Host } from './support/host.ts'

const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const redirected = (): number => host.datapath.counters()['COUNTER_ACCEL_REDIRECTED'] ?? 0

const echo = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  })
  server.listen({ port: 8080, backlog: 4096 }, () => console.log('ready'))
}

/** All open at the same time; each says its own words and hears them. */
const many = async (address: string, connections: number, rounds: number) => {
  const { connect } = await import('node:net')
  const { once } = (await import('node:events')).default
  const talk = async (number: number): Promise<string> => {
    const socket = connect(8080, address)
    await once(socket, 'connect')
    opened++
    while (opened < connections) await new Promise((resolve) => setTimeout(resolve, 10))
    for (let round = 0; round < rounds; round++) {
      const word = `${number} ${round} ${'x'.repeat((number * 7 + round) % 500)};`
      socket.write(word)
      let heard = ''
      while (heard.length < word.length) heard += String((await once(socket, 'data'))[0])
      if (heard !== word) return `${word} became ${heard}`
    }
    socket.end()
    await once(socket, 'close')
    return 'heard'
  }
  let opened = 0
  const words = await Promise.all(Array.from({ length: connections }, (_, i) => talk(i)))
  console.log([...new Set(words)].join())
}

t.test('3000 connections at once', async (t) => {
  await host.serve(server, echo)
  const before = redirected()
  t.equal((await host.call(client, many, server.ip4, 3000, 10)).out, 'heard')
  t.ok(redirected() - before > 50_000, 'most words went past TCP')
  const left = host.datapath
    .mapInfo()
    .filter(({ name }) => /flows|pairing|connections/.test(name))
  t.same(
    left.map(({ entries }) => entries),
    [0, 0, 0],
    'nothing is left of them',
  )
})

const bytes = 3_000_000

/** Sends, ends, and only then reads; or the other way round. Says how much came. */
const half = async (address: string, bytes: number, first: boolean): Promise<void> => {
  const { connect } = await import('node:net')
  const { once } = (await import('node:events')).default
  const socket = connect({ port: 8081, host: address, allowHalfOpen: true })
  let got = 0
  socket.on('data', (data) => (got += data.length))
  const ended = once(socket, 'end')
  if (!first) await ended
  socket.end(Buffer.alloc(bytes, 1))
  await ended
  console.log(got)
}

const otherHalf = async (bytes: number, first: boolean): Promise<void> => {
  const { createServer } = await import('node:net')
  const { once } = (await import('node:events')).default
  createServer({ allowHalfOpen: true }, (socket) => {
    void (async () => {
      let got = 0
      socket.on('data', (data) => (got += data.length))
      const ended = once(socket, 'end')
      if (!first) await ended
      const closed = once(socket, 'close')
      socket.end(Buffer.alloc(bytes, 2))
      await closed
      console.log(got)
      process.exit()
    })()
  }).listen(8081, () => console.log('ready'))
}

for (const clientFirst of [true, false]) {
  const who = clientFirst ? 'the client' : 'the server'
  t.test(`${who} stops sending first`, async (t) => {
    const other = await host.serve(server, otherHalf, bytes, !clientFirst)
    let heard = ''
    other.stdout?.on('data', (data) => (heard += String(data)))
    const gone = new Promise((resolve) => other.once('close', resolve))
    const { out } = await host.call(client, half, server.ip4, bytes, clientFirst)
    await gone
    t.equal(out, `${bytes}`)
    t.equal(heard.trim(), `${bytes}`)
  })
}
