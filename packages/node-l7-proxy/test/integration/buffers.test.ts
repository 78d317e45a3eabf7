// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// The ledger of buffered bytes: who holds too much of what somebody is slow to take is given up, and others keep what they
// have.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { listen } from '../support/http.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const mib = 1_048_576
const server = http.createServer((request, response) => {
  if (request.url === '/endless') endless(response) // others are never answered, and never read
})
server.on('upgrade', (_request, socket: net.Socket) => {
  socket.on('error', () => undefined)
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
  )
  endless(socket)
})
const backend = await listen(server)
t.teardown(async () => backend.close())

/** A worker in front of that backend: services 1 (HTTP), 2 (HTTP/2) and 3 (HTTP). */
async function start(...args: string[]): Promise<TestProxy> {
  return startProxy(
    [
      service(1, 'web', L7Protocol.HTTP),
      endpoint(1, 'web', backend.port),
      service(2, 'h2', L7Protocol.HTTP2),
      table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
      service(3, 'other', L7Protocol.HTTP),
      endpoint(3, 'other', backend.port),
    ],
    args,
  )
}

/** Clients of identity 256 + `from` that ask and never read. */
function unread(
  port: number,
  serviceId: number,
  from: number,
  count: number,
): net.Socket[] {
  return Array.from({ length: count }, () => {
    const host = `127.0.0.${serviceId}`
    const socket = net.connect({ port, host, localAddress: `127.0.1.${from}` })
    socket.on('error', () => undefined).pause()
    socket.write('GET /endless HTTP/1.1\r\nhost: a\r\n\r\n')
    return socket
  })
}

/** Waits until the ledger is full for somebody, and then within `limit`. */
async function enforced(proxy: TestProxy, counter: string, limit: number): Promise<void> {
  // Kernel buffers take megabytes first.
  await until(async () => (await proxy.metric(counter)) > 0, counter, 60_000)
  await until(
    async () => (await proxy.metric('pillion_buffered_bytes')) <= limit,
    'within the limit',
  )
}

t.test('answers that nobody reads, of one identity', async (t) => {
  const proxy = await start('--max-identity-buffered', String(mib))
  t.teardown(async () => proxy.stop())
  const others = unread(proxy.port, 1, 2, 3)
  const mine = unread(proxy.port, 1, 1, 24)
  const held = mib + mib // of mine, and at most of the others
  await enforced(proxy, 'pillion_identity_buffered_limit_total', held)
  t.ok((await proxy.metric('pillion_buffered_bytes')) > mib / 2, 'what fits is kept')
  await until(
    async () =>
      (await proxy.metric('pillion_active_requests')) ===
      27 - (await proxy.metric('pillion_identity_buffered_limit_total')),
    'who was cut off is gone',
  )
  for (const socket of mine) socket.destroy()
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 3,
    'those of the other identity go on',
  )
  for (const socket of others) socket.destroy()
  await until(
    async () => (await proxy.metric('pillion_buffered_bytes')) === 0,
    'nothing left',
  )
  t.equal(await proxy.metric('pillion_service_buffered_limit_total'), 0)
})

t.test('uploads that no endpoint takes, to one service', async (t) => {
  // All but one wait for the one connection.
  const args = ['--max-service-buffered', String(2 * mib), '--max-pool', '1']
  const proxy = await start(...args)
  t.teardown(async () => proxy.stop())
  const sessions = Array.from({ length: 4 }, () =>
    http2.connect(`http://127.0.0.2:${proxy.port}`).on('error', () => undefined),
  )
  const answers: string[] = []
  for (const session of sessions)
    for (let i = 0; i < 4; i++) {
      const stream = session.request({ ':method': 'POST', ':path': '/never' })
      stream.on('error', () => undefined)
      stream.on('response', ({ ':status': status }) => {
        stream.setEncoding('utf8').once('data', (text: string) => {
          answers.push(`${status} ${text}`)
        })
      })
      stream.write(Buffer.alloc(mib))
    }
  await enforced(proxy, 'pillion_service_buffered_limit_total', 2 * mib)
  await until(() => answers.length > 0, 'refusals')
  t.match(answers[0], /^503 OVERFLOW: .*buffered bytes of this service/)
  t.ok(answers.length < 16, 'not all of them')
  for (const session of sessions) session.destroy()
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'no request left',
  )
})

t.test('tunnels and answers of everybody, in one worker', async (t) => {
  const proxy = await start('--max-buffered', String(mib / 2))
  t.teardown(async () => proxy.stop())
  const sockets = Array.from({ length: 12 }, (_, i) => {
    const from = `127.0.1.${1 + (i % 4)}`
    const host = i % 2 === 0 ? '127.0.0.1' : '127.0.0.3'
    const socket = net.connect({ port: proxy.port, host, localAddress: from })
    socket.on('error', () => undefined).pause()
    socket.write(
      'GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
    )
    return socket
  })
  sockets.push(...unread(proxy.port, 1, 5, 4))
  await enforced(proxy, 'pillion_buffered_limit_total', mib / 2)
  for (const socket of sockets) socket.destroy()
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'no request left',
  )
})

function endless(stream: http.ServerResponse | net.Socket): void {
  const chunk = Buffer.alloc(65_536)
  const more = (): void => {
    while (!stream.destroyed && stream.write(chunk));
  }
  stream.on('drain', more)
  more()
}
