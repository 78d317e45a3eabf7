// SPDX-License-Identifier: Apache-2.0
// Shares of a worker: what one identity or one service takes leaves room for the others, over HTTP/1.1 and HTTP/2 alike.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, retry, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const held = new Set<http.ServerResponse>()
const backend = await httpBackend((request, response) => {
  request.resume()
  if (request.url === '/fine') response.end('fine')
  else if (request.url === '/endless') response.end(Buffer.alloc(64 * 1_048_576))
  else {
    held.add(response)
    response.on('close', () => held.delete(response))
  }
})
const retrying = { hasRoutes: true, rules: [rule('/', { web: 1 }, { retry: retry(1) })] }
const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port),
    service(2, 'h2', L7Protocol.HTTP2),
    table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
    service(3, 'other', L7Protocol.HTTP),
    table(3, 'other', retrying),
  ],
  [
    ...['--max-identity-connections', '8', '--max-identity-requests', '4'],
    ...['--max-service-requests', '6', '--max-requests', '9'],
    ...['--max-identity-replay', '1000', '--stall-timeout', '500ms'],
  ],
)
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})
const quiet = async (): Promise<void> =>
  until(
    async () => (await proxy.metric('pillion_active_connections')) === 0,
    'no connection left',
  )

/** `count` requests of identity `from` that are not answered, on connections of their own. */
function hold(count: number, serviceId: number, from: number): http.ClientRequest[] {
  return Array.from({ length: count }, () => {
    const request = http.get({
      ...{ host: `127.0.0.${serviceId}`, port: proxy.port, path: '/hold', agent: false },
      localAddress: `127.0.1.${from}`,
    })
    return request.on('error', () => undefined)
  })
}

t.test('an identity has its requests, and others theirs', async (t) => {
  const mine = hold(4, 1, 1)
  await until(() => held.size === 4, 'four at the backend')
  const over = await ask(proxy.port, 1, '/fine', { from: 1 })
  t.equal(over.status, 503)
  t.match(over.body, /^OVERFLOW.*requests of this client identity/)
  t.equal((await ask(proxy.port, 1, '/fine', { from: 2 })).body, 'fine')
  const session = http2.connect(`http://127.0.0.2:${proxy.port}`, {
    localAddress: '127.0.1.1',
  } as object)
  const stream = session.request({ ':path': '/fine' })
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  t.equal(headers[':status'], 503, 'in HTTP/2 as well')
  session.destroy()
  t.equal(await proxy.metric('pillion_identity_request_limit_total'), 2)
  for (const request of mine) request.destroy()
  await quiet()
  t.equal((await ask(proxy.port, 1, '/fine', { from: 1 })).body, 'fine', 'given back')
})

t.test('a service has its requests, others and the worker the rest', async (t) => {
  const mine = [...hold(3, 1, 1), ...hold(3, 1, 2)]
  await until(() => held.size === 6, 'six at the backend')
  const over = await ask(proxy.port, 1, '/fine', { from: 3 })
  t.match(over.body, /^OVERFLOW.*requests to this service/)
  t.equal((await ask(proxy.port, 3, '/fine', { from: 3 })).body, 'fine')
  t.equal(await proxy.metric('pillion_service_request_limit_total'), 1)
  mine.push(...hold(3, 3, 3))
  await until(() => held.size === 9, 'nine at the backend')
  const last = await ask(proxy.port, 3, '/fine', { from: 4 })
  t.match(last.body, /^OVERFLOW.*requests of this worker/)
  t.equal(await proxy.metric('pillion_request_limit_total'), 1)
  for (const request of mine) request.destroy()
  await quiet()
})

t.test('an identity has its connections', async (t) => {
  const sockets = Array.from({ length: 8 }, () =>
    net.connect({ port: proxy.port, host: '127.0.0.1', localAddress: '127.0.1.1' }),
  )
  await until(
    async () => (await proxy.metric('pillion_active_connections')) === 8,
    'eight connections',
  )
  await t.rejects(ask(proxy.port, 1, '/fine', { from: 1 }))
  t.equal(await proxy.metric('pillion_identity_connection_limit_total'), 1)
  t.equal((await ask(proxy.port, 1, '/fine', { from: 2 })).body, 'fine')
  for (const socket of sockets) socket.destroy()
  await quiet()
})

t.test('bodies beyond the room for replay are sent once, and whole', async (t) => {
  const before = await proxy.metric('pillion_replay_bytes_limit_total')
  const body = Buffer.alloc(5000, 'x')
  const reply = await ask(proxy.port, 3, '/fine', { method: 'POST', body, from: 1 })
  t.equal(reply.body, 'fine')
  t.equal(await proxy.metric('pillion_replay_bytes_limit_total'), before + 1)
  const small = { method: 'POST', body: Buffer.alloc(900), from: 1 }
  for (let i = 0; i < 3; i++) await ask(proxy.port, 3, '/fine', small)
  t.equal(
    await proxy.metric('pillion_replay_bytes_limit_total'),
    before + 1,
    'given back',
  )
})

t.test('who never reads is cut off', async (t) => {
  const socket = net.connect({ port: proxy.port, host: '127.0.0.1' })
  socket.write('GET /endless HTTP/1.1\r\nhost: a\r\n\r\n')
  socket.pause()
  const session = http2.connect(`http://127.0.0.2:${proxy.port}`)
  const stream = session.request({ ':path': '/endless' })
  stream.on('error', () => undefined)
  await until(
    async () => (await proxy.metric('pillion_stalled_answers_total')) === 2,
    'both cut off',
  )
  stream.resume()
  if (!stream.closed) await once(stream, 'close')
  t.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL)
  session.destroy()
  socket.destroy()
  await quiet()
  t.equal(await proxy.metric('pillion_active_requests'), 0)
})
