// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Bytes that broke other servers (h2o's corpus killed Node 20: an assertion in ~Http2Session), at every listener and as
// the answer of every kind of endpoint. No process may exit, no request may stay, others are served.
import http2 from 'node:http2'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { readCorpora } from '../support/corpora.ts'
import { ask, httpBackend, listen } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, service } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const { inputs, rounds } = readCorpora()
const patienceMs = 100
let next = 0

const good = await httpBackend((_request, response) => response.end('fine'))
const hostile = await listen(
  net.createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => {
      const input = inputs[next++ % inputs.length] ?? ''
      if (next % 2 === 0) socket.end(input)
      else socket.write(input)
    })
    const timer = setTimeout(() => socket.destroy(), patienceMs)
    socket.once('close', () => {
      clearTimeout(timer)
    })
  }),
)
const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', good.port),
    service(2, 'h2', L7Protocol.HTTP2),
    endpoint(2, 'h2', good.port),
    service(3, 'grpc', L7Protocol.GRPC),
    endpoint(3, 'grpc', good.port),
    service(4, 'bad-http', L7Protocol.HTTP),
    endpoint(4, 'bad-http', hostile.port),
    service(5, 'bad-h2', L7Protocol.HTTP2),
    endpoint(5, 'bad-h2', hostile.port),
  ],
  ['--log-level', 'fatal'],
)
t.teardown(async () => {
  await proxy.stop()
  await good.close()
  await hostile.close()
})

/** Runs `throwOne` for every input and round, 40 at a time. */
async function throwAll(
  throwOne: (input: Buffer, i: number) => Promise<void>,
): Promise<number> {
  const count = inputs.length * rounds
  let at = 0
  const worker = async (): Promise<void> => {
    for (let i = at++; i < count; i = at++) {
      const input = inputs[i % inputs.length]
      if (input !== undefined) await throwOne(input, i)
    }
  }
  await Promise.all(Array.from({ length: 40 }, worker))
  return count
}

/** Writes, ends its side every second time, and leaves after a moment. */
async function throwAt(serviceId: number, input: Buffer, i: number): Promise<void> {
  const host = `127.0.0.${serviceId}`
  const socket = net.connect({ port: proxy.port, host, allowHalfOpen: i % 4 === 0 })
  socket.on('error', () => undefined)
  socket.resume()
  if (i % 2 === 0) socket.end(input)
  else socket.write(input)
  const timer = setTimeout(() => socket.destroy(), patienceMs)
  await new Promise((resolve) => socket.once('close', resolve)) // events.once() would reject on a reset
  clearTimeout(timer)
}

async function settled(t: {
  equal(a: unknown, b: unknown, what: string): unknown
}): Promise<void> {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0, 'no process exited')
  const idle = async (): Promise<boolean> =>
    (await proxy.metric('pillion_active_requests')) === 0
  await until(idle, 'no request left', 30_000)
  t.equal((await ask(proxy.port, 1, '/')).body, 'fine', 'others are served')
}

for (const [serviceId, name] of [
  [1, 'HTTP'],
  [2, 'HTTP2'],
  [3, 'GRPC'],
] as const) {
  t.test(`at the listener of ${name}`, async (t) => {
    const count = await throwAll(async (input, i) => throwAt(serviceId, input, i))
    t.comment(`${count} inputs`)
    await settled(t)
  })
}

t.test('at the listener of HTTP2, after preface and SETTINGS', async (t) => {
  const greeting = Buffer.from(
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0',
    'latin1',
  )
  await throwAll(async (input, i) => throwAt(2, Buffer.concat([greeting, input]), i))
  await settled(t)
})

t.test('as the answer of an HTTP/1.1 endpoint', async (t) => {
  await throwAll(async (_input, i) => {
    const body = i % 3 === 0 ? { method: 'POST', body: 'x' } : {}
    await ask(proxy.port, 4, '/', body).catch(() => undefined)
  })
  await settled(t)
})

t.test('as the answer of an HTTP/2 endpoint', async (t) => {
  const session = http2.connect(`http://127.0.0.5:${proxy.port}`)
  session.on('error', () => undefined)
  await throwAll(async (_input, i) => {
    const stream = session.request({
      ':path': '/',
      ':method': i % 3 === 0 ? 'POST' : 'GET',
    })
    stream.on('error', () => undefined)
    stream.resume().end(i % 3 === 0 ? 'x' : undefined)
    if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve))
  })
  session.destroy()
  await settled(t)
})
