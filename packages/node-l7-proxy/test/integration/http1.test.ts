// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 through the real processes: streaming, trailers, 100-continue, Upgrade, hop-by-hop, refusals.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend, listen } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const backend = await httpBackend((request, response) => {
  const url = new URL(request.url ?? '/', 'http://backend')
  if (url.pathname === '/upload') {
    const hash = createHash('sha256')
    request.on('data', (chunk: Buffer) => hash.update(chunk))
    request.on('end', () =>
      response.end(`${hash.digest('hex')} ${JSON.stringify(request.trailers)}`),
    )
    return
  }
  if (url.pathname === '/trailers') {
    response.writeHead(200, { trailer: 'x-sum' })
    response.write('part')
    response.addTrailers({ 'x-sum': '42' })
    response.end()
    return
  }
  if (url.pathname === '/endless') {
    const chunk = randomBytes(65_536)
    let sent = 0
    const more = (): void => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length
      sent += chunk.length
    }
    response.on('drain', more).on('close', () => {
      endlessBytes = -1
    })
    setInterval(() => {
      if (endlessBytes >= 0) endlessBytes = sent
    }, 5).unref()
    more()
    return
  }
  if (url.pathname === '/truncated') {
    response.writeHead(200, { 'content-length': '100' })
    response.write('short')
    setImmediate(() => response.destroy())
    return
  }
  response.writeHead(Number(url.searchParams.get('status') ?? 200), {
    'x-backend': 'one',
    'set-cookie': ['a=1', 'b=2'],
  })
  response.end(
    JSON.stringify({
      method: request.method,
      url: request.url,
      headers: request.headers,
    }),
  )
})
let endlessBytes = 0

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
const seen = (
  body: string,
): { method: string; url: string; headers: Record<string, string> } =>
  JSON.parse(body) as ReturnType<typeof seen>

t.test('a plain request, with what the mesh adds', async (t) => {
  const reply = await ask(proxy.port, 1, '/a?b=c', {
    headers: { host: 'web.shop', 'x-pillion-admin': '1', 'x-b3-traceid': 'kept' },
  })
  t.equal(reply.status, 200)
  t.strictSame(reply.headers['set-cookie'], ['a=1', 'b=2'])
  const { url, headers } = seen(reply.body)
  t.equal(url, '/a?b=c')
  t.equal(headers['host'], 'web.shop')
  t.match(headers['traceparent'], /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  t.match(headers['x-request-id'], /^[0-9a-f-]{36}$/)
  t.equal(headers['x-pillion-admin'], undefined)
  t.equal(headers['x-b3-traceid'], 'kept')
  t.equal(reply.headers['server'], undefined)
})

t.test('a trace is continued with a span of ours', async (t) => {
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const { headers } = seen(
    (await ask(proxy.port, 1, '/', { headers: { traceparent, 'x-request-id': 'mine' } }))
      .body,
  )
  t.match(headers['traceparent'], new RegExp(`^00-${'a'.repeat(32)}-[0-9a-f]{16}-01$`))
  t.not(headers['traceparent'], traceparent)
  t.equal(headers['x-request-id'], 'mine')
})

t.test('hop-by-hop fields end here, protected ones do not', async (t) => {
  const { headers } = seen(
    (
      await ask(proxy.port, 1, '/', {
        headers: {
          connection: 'x-hop, authorization, close',
          'x-hop': '1',
          authorization: 'kept',
          te: 'trailers',
        },
      })
    ).body,
  )
  t.equal(headers['x-hop'], undefined)
  t.equal(headers['te'], undefined)
  t.equal(headers['authorization'], 'kept')
})

t.test('request bodies: with a length, chunked, with trailers', async (t) => {
  const body = randomBytes(3_000_000)
  const digest = createHash('sha256').update(body).digest('hex')
  const fixed = await ask(proxy.port, 1, '/upload', {
    method: 'POST',
    headers: { 'content-length': body.length },
    body,
  })
  t.equal(fixed.body, `${digest} {}`)
  const { promise, resolve } = Promise.withResolvers<string>()
  const request = http.request(
    {
      host: '127.0.0.1',
      port: proxy.port,
      path: '/upload',
      method: 'POST',
      agent: false,
      headers: { trailer: 'x-check' },
    },
    (response) => {
      response.setEncoding('utf8').once('data', resolve)
    },
  )
  request.write(body)
  request.addTrailers({ 'x-check': 'ok' })
  request.end()
  t.equal(await promise, `${digest} {"x-check":"ok"}`)
})

t.test('response trailers', async (t) => {
  const reply = await ask(proxy.port, 1, '/trailers')
  t.equal(reply.body, 'part')
  t.equal(reply.trailers['x-sum'], '42')
})

t.test('HEAD, 204 and keep-alive on one connection', async (t) => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => {
    agent.destroy()
  })
  t.equal((await ask(proxy.port, 1, '/', { method: 'HEAD', agent })).body, '')
  t.equal((await ask(proxy.port, 1, '/?status=204', { agent })).status, 204)
  t.equal(
    (await ask(proxy.port, 1, '/upload', { agent, method: 'POST', body: 'x' })).status,
    200,
  )
  t.equal((await ask(proxy.port, 1, '/', { agent })).status, 200)
})

t.test('Expect: 100-continue is answered by the service', async (t) => {
  let order = ''
  const expecting = await listen(
    http
      .createServer()
      .on(
        'checkContinue',
        (request: http.IncomingMessage, response: http.ServerResponse) => {
          if (request.url === '/refuse') {
            response.writeHead(413).end('too large')
            return
          }
          order += 'asked '
          response.writeContinue()
          request.resume().on('end', () => response.end('accepted'))
        },
      ),
  )
  t.teardown(async () => expecting.close())
  await proxy.operator.send([
    service(5, 'expecting', L7Protocol.HTTP),
    endpoint(5, 'expecting', expecting.port),
  ])
  const send = async (path: string): Promise<[number, string]> => {
    const { promise, resolve, reject } = Promise.withResolvers<[number, string]>()
    const request = http.request({
      host: '127.0.0.5',
      port: proxy.port,
      path,
      method: 'POST',
      agent: false,
      headers: { expect: '100-continue', 'content-length': 4 },
    })
    request.on('continue', () => {
      order += 'continued '
      request.end('body')
    })
    request.on('response', (response) => {
      response.setEncoding('utf8').once('data', (text: string) => {
        resolve([response.statusCode ?? 0, text])
        request.destroy()
      })
    })
    request.on('error', reject)
    request.flushHeaders()
    return promise
  }
  t.strictSame(await send('/'), [200, 'accepted'])
  t.equal(order, 'asked continued ')
  t.strictSame(await send('/refuse'), [413, 'too large'])
})

t.test(
  'Upgrade becomes a tunnel both ways; a refused one is an ordinary answer',
  async (t) => {
    const upgrading = http.createServer((_request, response) =>
      response.writeHead(426).end('no'),
    )
    upgrading.on('upgrade', (request: http.IncomingMessage, socket: net.Socket) => {
      if (request.url === '/no') {
        socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno')
        return
      }
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\nx-back: yes\r\n\r\nfirst ',
      )
      socket.pipe(socket)
    })
    const target = await listen(upgrading)
    t.teardown(async () => target.close())
    await proxy.operator.send([
      service(6, 'ws', L7Protocol.HTTP),
      endpoint(6, 'ws', target.port),
    ])
    const raw = async (path: string, say: string): Promise<string> => {
      const socket = net.connect(proxy.port, '127.0.0.6')
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: ws\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n`,
      )
      let text = ''
      const closed = once(socket, 'close')
      socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
      await until(() => text.includes('\r\n\r\n'), 'head')
      socket.end(say)
      await closed
      return text
    }
    const tunnel = await raw('/', 'hello')
    t.match(tunnel, /^HTTP\/1.1 101 /)
    t.match(tunnel, /x-back: yes/)
    t.match(tunnel, /first hello$/)
    t.match(await raw('/no', ''), /^HTTP\/1.1 403 [^]*no$/)
  },
)

t.test('a client that does not read stops the service from sending', async (t) => {
  const socket = net.connect(proxy.port, '127.0.0.1')
  socket.write('GET /endless HTTP/1.1\r\nhost: web\r\n\r\n')
  socket.once('data', () => socket.pause())
  let before = -1
  await until(async () => {
    const stalled = endlessBytes > 0 && endlessBytes === before
    before = endlessBytes
    await new Promise((resolve) => setTimeout(resolve, 200))
    return stalled && endlessBytes === before
  }, 'the backend to stall')
  t.ok(endlessBytes < 32_000_000, `stalled after ${endlessBytes} bytes`)
  socket.destroy()
  await until(() => endlessBytes === -1, 'the cancel to reach the backend')
})

t.test('an answer that breaks off is seen to be broken', async (t) => {
  await t.rejects(ask(proxy.port, 1, '/truncated'))
})

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
