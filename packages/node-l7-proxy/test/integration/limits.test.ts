// SPDX-License-Identifier: Apache-2.0
// Every limit: what happens at it, and the metric that says so.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, service } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const held: http.ServerResponse[] = []
let holding = true
const backend = await httpBackend((request, response) => {
  if (request.url !== '/held') response.end('ok')
  else if (holding) held.push(response)
  else response.end('done')
})
const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port),
    service(2, 'h2', L7Protocol.HTTP2),
  ],
  [
    ...[
      '--max-connections',
      '10',
      '--max-pool',
      '2',
      '--max-pending',
      '2',
      '--max-streams',
      '7',
    ],
    ...['--header-timeout', '500ms', '--max-held', '1', '--held-timeout', '300ms'],
  ],
)
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})

t.test(
  '--max-pool and --max-pending: what waits is bounded, the rest is 503 at once',
  async (t) => {
    const waiting = Array.from({ length: 4 }, async () => ask(proxy.port, 1, '/held'))
    await until(
      async () => (await proxy.metric('pillion_active_requests')) === 4,
      'four requests',
    )
    await until(() => held.length >= 2, 'the connections to the endpoint')
    const refused = await ask(proxy.port, 1, '/')
    t.equal(refused.status, 503)
    t.match(refused.body, /^OVERFLOW/)
    t.equal(held.length, 2, 'no more connections than --max-pool')
    t.equal(await proxy.metric('pillion_pending_overflow_total'), 1)
    holding = false
    for (const response of held) response.end('done')
    t.strictSame(
      (await Promise.all(waiting)).map(({ body }) => body),
      ['done', 'done', 'done', 'done'],
    )
  },
)

t.test('--max-connections', async (t) => {
  await until(
    async () => (await proxy.metric('pillion_active_connections')) === 0,
    'no connection',
  )
  const sockets = Array.from({ length: 10 }, () => net.connect(proxy.port, '127.0.0.1'))
  await until(
    async () => (await proxy.metric('pillion_active_connections')) === 10,
    'ten connections',
  )
  await t.rejects(ask(proxy.port, 1, '/'))
  t.equal(await proxy.metric('pillion_connection_limit_total'), 1)
  for (const socket of sockets) socket.destroy()
  await until(
    async () => (await proxy.metric('pillion_active_connections')) === 0,
    'no connection',
  )
})

t.test('--header-timeout: from the first byte; silence is no request', async (t) => {
  const silent = net.connect(proxy.port, '127.0.0.1')
  const slow = net.connect(proxy.port, '127.0.0.1')
  slow.write('GET / HTTP/1.1\r\nhost:')
  const [answer] = (await once(slow, 'data')) as [Buffer]
  t.match(answer.toString(), /^HTTP\/1.1 408 /)
  silent.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  const [late] = (await once(silent, 'data')) as [Buffer]
  t.match(late.toString(), /^HTTP\/1.1 200 /)
  silent.destroy()
})

t.test('--max-streams is announced', async (t) => {
  const session = http2.connect(`http://127.0.0.2:${proxy.port}`)
  const [settings] = (await once(session, 'remoteSettings')) as [http2.Settings]
  t.equal(settings.maxConcurrentStreams, 7)
  session.destroy()
})

t.test('--max-held and --held-timeout', async (t) => {
  const first = ask(proxy.port, 99, '/').catch((error: unknown) => error)
  await until(async () => (await proxy.metric('pillion_held_connections')) === 1, 'held')
  await t.rejects(ask(proxy.port, 99, '/'))
  t.equal(await proxy.metric('pillion_held_limit_total'), 1)
  t.type(await first, Error)
  t.equal(await proxy.metric('pillion_unknown_service_connections_total'), 1)
  t.equal(await proxy.metric('pillion_held_connections'), 0)
})
