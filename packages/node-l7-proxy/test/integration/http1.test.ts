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
import { endpoint, service } from '../support/resources.ts'
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
