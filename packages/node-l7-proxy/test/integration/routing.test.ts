// SPDX-License-Identifier: Apache-2.0
// Routes, filters, refusals, and what happens to connections when the configuration changes, through the real processes.
import http from 'node:http'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const backend = await httpBackend((request, response) => {
  response.writeHead(200, { 'x-backend': 'one' })
  response.end(JSON.stringify({ url: request.url, headers: request.headers }))
})

const proxy = await startProxy([
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', backend.port),
  service(2, 'routed', L7Protocol.HTTP),
  table(2, 'routed', {
    hasRoutes: true,
    rules: [
      rule(
        '/redirect',
        {},
        {
          filters: [
            {
              body: {
                $case: 'redirect',
                value: {
                  scheme: '',
                  port: 0,
                  path: undefined,
                  hostname: 'example.org',
                  status: 301,
                },
              },
            },
          ],
        },
      ),
      rule('/invalid', { '': 1 }),
      rule('/missing', { gone: 1 }),
      rule(
        '/api',
        { web: 1 },
        {
          filters: [
            {
              body: {
                $case: 'rewrite',
                value: { hostname: 'inner', path: { prefix: '/' } },
              },
            },
            {
              body: {
                $case: 'requestHeaders',
                value: {
                  set: [{ name: 'X-Set', value: 's' }],
                  add: [{ name: 'X-Add', value: 'new' }],
                  remove: ['X-Remove'],
                },
              },
            },
            {
              body: {
                $case: 'responseHeaders',
                value: {
                  set: [{ name: 'X-Backend', value: 'edited' }],
                  add: [],
                  remove: [],
                },
              },
            },
          ],
        },
      ),
      rule('/mine', { web: 1 }, { consumerNamespace: 'client' }),
    ],
  }),
  service(3, 'empty', L7Protocol.HTTP),
  {
    name: '257',
    body: {
      $case: 'identity',
      value: { id: 257, namespace: 'client', serviceAccount: 'x', labels: {} },
    },
  },
])
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})
const seen = (body: string): { url: string; headers: Record<string, string> } =>
  JSON.parse(body) as ReturnType<typeof seen>

t.test(
  'routes: redirect, rewrite, header filters, 404, 500, 503, consumer rules',
  async (t) => {
    const redirect = await ask(proxy.port, 2, '/redirect/x?y=1', {
      headers: { host: 'web.shop' },
    })
    t.equal(redirect.status, 301)
    t.equal(redirect.headers.location, 'http://example.org/redirect/x?y=1')
    const rewritten = await ask(proxy.port, 2, '/api/v1?q=1', {
      headers: { 'x-add': 'old', 'x-remove': '1' },
    })
    t.equal(rewritten.headers['x-backend'], 'edited')
    const { url, headers } = seen(rewritten.body)
    t.equal(url, '/v1?q=1')
    t.match(headers, { host: 'inner', 'x-set': 's', 'x-add': 'old,new' })
    t.equal(headers['x-remove'], undefined)
    const missing = await ask(proxy.port, 2, '/other')
    t.equal(missing.status, 404)
    t.match(missing.body, /^NO_ROUTE: /)
    t.equal((await ask(proxy.port, 2, '/invalid')).status, 500)
    t.equal((await ask(proxy.port, 2, '/missing')).status, 503)
    t.equal((await ask(proxy.port, 3, '/')).status, 503)
    t.equal((await ask(proxy.port, 2, '/mine')).status, 404, 'not for this namespace')
    t.equal(
      (await ask(proxy.port, 2, '/mine', { from: 1 })).status,
      200,
      'consumer rules',
    )
    t.equal(
      (await ask(proxy.port, 2, '/api', { from: 1 })).status,
      404,
      'which replace the producer rules',
    )
    t.equal(
      await proxy.metric(
        'istio_requests_total',
        'response_flags="NR"',
        'destination_service_name="routed"',
      ),
      3,
    )
  },
)

t.test(
  'not HTTP, ambiguous, or not redirected by the kernel: refused and counted',
  async (t) => {
    const raw = async (address: string, text: string): Promise<string> => {
      const socket = net.connect(proxy.port, address)
      let answer = ''
      socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk))
      socket.on('error', () => undefined)
      socket.write(text)
      await new Promise((resolve) => socket.once('close', resolve))
      return answer
    }
    t.match(await raw('127.0.0.1', 'SSH-2.0-OpenSSH\r\n\r\n'), /^HTTP\/1.1 400 /)
    t.match(
      await raw('127.0.0.1', 'GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n'),
      /^HTTP\/1.1 400 /,
    )
    t.match(
      await raw(
        '127.0.0.1',
        `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(70_000)}\r\n\r\n`,
      ),
      /^HTTP\/1.1 431 /,
    )
    t.match(
      await raw('127.0.0.1', 'CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n'),
      /^HTTP\/1.1 501 /,
    )
    t.equal(await raw('127.0.0.250', 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'), '')
    t.equal(await proxy.metric('pillion_no_origin_connections_total'), 1)
    t.ok((await proxy.metric('pillion_protocol_errors_total')) >= 3)
  },
)

t.test('a connection whose service comes a moment later waits for it', async (t) => {
  const waiting = ask(proxy.port, 9, '/late')
  await until(async () => (await proxy.metric('pillion_held_connections')) === 1, 'held')
  await proxy.operator.send([
    service(9, 'late', L7Protocol.HTTP),
    endpoint(9, 'late', backend.port),
  ])
  t.equal((await waiting).status, 200)
})

t.test(
  'a service that is no longer declared keeps its open connections and ends them politely',
  async (t) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => {
      agent.destroy()
    })
    t.equal((await ask(proxy.port, 9, '/', { agent })).headers.connection, 'keep-alive')
    await proxy.operator.send(
      [],
      [
        { kind: 'servicePort', name: 'shop/late:80/TCP' },
        { kind: 'endpoint', name: `shop/late:80/TCP|127.0.0.1:${backend.port}` },
      ],
    )
    const last = await ask(proxy.port, 9, '/', { agent })
    t.equal(last.status, 200)
    t.equal(last.headers.connection, 'close')
    // The kernel hears of it a moment later: what it still redirects is served, and told to close as well.
    const late = await ask(proxy.port, 9, '/')
    t.equal(late.status, 200)
    t.equal(late.headers.connection, 'close')
  },
)

t.test(
  'a configuration that cannot be compiled is refused with a reason, and the last one serves on',
  async (t) => {
    const ack = await proxy.operator.send([
      table(1, 'web', {
        hasRoutes: true,
        rules: [rule('/', { web: 1 }, { filters: [{ body: undefined }] })],
      }),
    ])
    t.match(ack.error, /filter/)
    t.equal((await ask(proxy.port, 1, '/')).status, 200)
  },
)
