// SPDX-License-Identifier: Apache-2.0
// HTTP/2 and gRPC (@grpc/grpc-js on both ends) through the real processes.
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import {
  Client,
  credentials,
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const identity = (bytes: Buffer): Buffer => bytes
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
})
const calls = new Map<string, number>()
let cancelled = 0

async function grpcBackend(name: string): Promise<{ port: number; server: Server }> {
  const server = new Server()
  server.addService(
    {
      unary: method('/test.Echo/Unary', false, false),
      many: method('/test.Echo/Many', false, true),
      chat: method('/test.Echo/Chat', true, true),
    },
    {
      unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const text = call.request.toString()
        calls.set(text, (calls.get(text) ?? 0) + 1)
        const trailers = new Metadata()
        trailers.set('x-trailing-bin', Buffer.from([0xab, 0xab]))
        if (text.startsWith('fail') && (calls.get(text) ?? 0) < 3) {
          done({ code: status.UNAVAILABLE, details: 'not now' })
        } else if (text === 'never') {
          call.on('cancelled', () => cancelled++)
        } else {
          call.sendMetadata(call.metadata)
          done(null, Buffer.from(`${name} ${text}`), trailers)
        }
      },
      many: (call: ServerWritableStream<Buffer, Buffer>) => {
        const chunk = Buffer.alloc(100_000, name)
        for (let i = 0; i < Number(call.request.toString()); i++) call.write(chunk)
        call.end()
      },
      chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (message: Buffer) =>
          call.write(Buffer.from(`${name} ${message.toString()}`)),
        )
        call.on('end', () => {
          call.end()
        })
        call.on('cancelled', () => cancelled++)
      },
    },
  )
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
    if (error === null) resolve(port)
    else reject(error)
  })
  return { port: await promise, server }
}

const [a, b] = [await grpcBackend('a'), await grpcBackend('b')]
const h2 = http2.createServer()
h2.on('stream', (stream, headers) => {
  stream.respond(
    { ':status': 200, 'x-path': headers[':path'], 'x-cookie': headers.cookie },
    { waitForTrailers: true },
  )
  stream.on('wantTrailers', () => {
    stream.sendTrailers({ 'x-sum': '7' })
  })
  stream.pipe(stream)
})
h2.listen(0, '127.0.0.1')
await once(h2, 'listening')
const web = await httpBackend((request, response) => {
  let bytes = 0
  request.on('data', (chunk: Buffer) => (bytes += chunk.length))
  request.on('end', () =>
    response.end(`${request.httpVersion} ${bytes} ${request.headers.cookie}`),
  )
})

const proxy = await startProxy([
  service(1, 'echo', L7Protocol.GRPC),
  endpoint(1, 'echo', a.port),
  endpoint(1, 'echo', b.port),
  service(2, 'retrying', L7Protocol.GRPC),
  table(2, 'retrying', {
    hasRoutes: true,
    rules: [
      rule(
        '/test.Echo',
        { echo: 1 },
        { retry: retry(2, { grpcCodes: ['UNAVAILABLE'] }) },
      ),
    ],
  }),
  service(3, 'h2', L7Protocol.HTTP2),
  endpoint(3, 'h2', (h2.address() as AddressInfo).port),
  service(4, 'to-web', L7Protocol.HTTP2),
  table(4, 'to-web', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
  service(5, 'web', L7Protocol.HTTP),
  endpoint(5, 'web', web.port),
  service(6, 'to-h2', L7Protocol.HTTP),
  table(6, 'to-h2', { hasRoutes: true, rules: [rule('/', { h2: 1 })] }),
  service(7, 'empty', L7Protocol.GRPC),
])
const clients: Client[] = []
t.teardown(async () => {
  for (const client of clients) client.close()
  await proxy.stop()
  a.server.forceShutdown()
  b.server.forceShutdown()
  h2.close()
  await web.close()
})

function client(id: number): Client {
  const made = new Client(`127.0.0.${id}:${proxy.port}`, credentials.createInsecure(), {
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
  })
  clients.push(made)
  return made
}

type Outcome = {
  error: ServiceError | null
  reply: string
  head: Metadata
  trailers: Metadata
}

async function unary(
  target: Client,
  text: string,
  deadlineMs = 5000,
  path = '/test.Echo/Unary',
): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const outcome: Outcome = {
    error: null,
    reply: '',
    head: new Metadata(),
    trailers: new Metadata(),
  }
  const metadata = new Metadata()
  metadata.set('x-custom', 'value')
  const call = target.makeUnaryRequest(
    path,
    identity,
    identity,
    Buffer.from(text),
    metadata,
    { deadline: Date.now() + deadlineMs },
    (error, reply) => {
      outcome.error = error
      outcome.reply = reply?.toString() ?? ''
      // 'status' comes last and brings the trailers.
      setImmediate(() => {
        resolve(outcome)
      })
    },
  )
  call.on('metadata', (head: Metadata) => (outcome.head = head))
  call.on('status', ({ metadata: trailers }) => (outcome.trailers = trailers))
  return promise
}

t.test(
  'unary calls on one connection go to both endpoints, with metadata and trailers',
  async (t) => {
    const echo = client(1)
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, async () => unary(echo, 'hi')),
    )
    t.strictSame(new Set(outcomes.map(({ reply }) => reply)), new Set(['a hi', 'b hi']))
    t.strictSame(outcomes[0]?.head.get('x-custom'), ['value'])
    t.strictSame(outcomes[0]?.trailers.get('x-trailing-bin'), [Buffer.from([0xab, 0xab])])
    t.equal(
      await proxy.metric(
        'istio_requests_total',
        'request_protocol="grpc"',
        'grpc_response_status="0"',
      ),
      40,
    )
    t.equal(await proxy.metric('istio_request_messages_total'), 40)
    t.equal(await proxy.metric('istio_response_messages_total'), 40)
    t.equal(await proxy.metric('pillion_active_connections'), 1)
  },
)

t.test('server streaming: ten megabytes', async (t) => {
  const stream = client(1).makeServerStreamRequest(
    '/test.Echo/Many',
    identity,
    identity,
    Buffer.from('100'),
  )
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length
  t.equal(bytes, 10_000_000)
  t.equal(await proxy.metric('istio_request_messages_total'), 41)
  t.equal(await proxy.metric('istio_response_messages_total'), 140)
})

t.test('bidirectional streaming answers while the request goes on', async (t) => {
  const chat = client(1).makeBidiStreamRequest<Buffer, Buffer>(
    '/test.Echo/Chat',
    identity,
    identity,
  )
  for (const text of ['1', '2', '3']) {
    chat.write(Buffer.from(text))
    const [message] = (await once(chat, 'data')) as [Buffer]
    t.match(message.toString(), new RegExp(`^[ab] ${text}$`))
  }
  chat.end()
  const [{ code }] = (await once(chat, 'status')) as [{ code: number }]
  t.equal(code, status.OK)
})

t.test(
  'a cancel reaches the service, a deadline ends the call on both sides',
  async (t) => {
    const chat = client(1).makeBidiStreamRequest<Buffer, Buffer>(
      '/test.Echo/Chat',
      identity,
      identity,
    )
    chat.on('error', () => undefined)
    chat.write(Buffer.from('x'))
    await once(chat, 'data')
    chat.cancel()
    await until(() => cancelled === 1, 'the cancel')
    const { error } = await unary(client(1), 'never', 200)
    t.equal(error?.code, status.DEADLINE_EXCEEDED)
    await until(
      async () => (await proxy.metric('pillion_active_requests')) === 0,
      'no call left',
    )
  },
)

t.test('Trailers-Only errors with a listed status are retried, per call', async (t) => {
  const { reply, error } = await unary(client(2), 'fail-1')
  t.equal(error, null)
  t.match(reply, /fail-1/)
  t.equal(calls.get('fail-1'), 3)
  t.equal(
    (await unary(client(1), 'fail-2')).error?.code,
    status.UNAVAILABLE,
    'not without a policy',
  )
})

t.test('errors of the proxy are gRPC errors', async (t) => {
  const empty = await unary(client(7), 'x')
  t.equal(empty.error?.code, status.UNAVAILABLE)
  t.match(empty.error?.details, /NO_ENDPOINT/)
  t.equal(
    (await unary(client(2), 'x', 5000, '/other.Service/X')).error?.code,
    status.UNIMPLEMENTED,
  )
})

async function plain(
  id: number,
  headers: http2.OutgoingHttpHeaders,
  body?: Buffer,
): Promise<{
  head: http2.IncomingHttpHeaders
  trailers: http2.IncomingHttpHeaders
  body: string
}> {
  const session = http2.connect(`http://127.0.0.${id}:${proxy.port}`)
  const stream = session.request({
    ':method': body === undefined ? 'GET' : 'POST',
    ...headers,
  })
  stream.end(body)
  let head: http2.IncomingHttpHeaders = {}
  let trailers: http2.IncomingHttpHeaders = {}
  let text = ''
  stream.on('response', (headers) => (head = headers))
  stream.on('trailers', (headers) => (trailers = headers))
  for await (const chunk of stream.setEncoding('latin1') as AsyncIterable<string>)
    text += chunk
  session.close()
  return { head, trailers, body: text }
}

t.test('HTTP/2 to HTTP/2, with trailers', async (t) => {
  const { head, trailers, body } = await plain(
    3,
    { ':path': '/x?y' },
    Buffer.alloc(1_000_000, 'z'),
  )
  t.equal(head['x-path'], '/x?y')
  t.equal(trailers['x-sum'], '7')
  t.equal(body.length, 1_000_000)
})

t.test('HTTP/2 to HTTP/1.1 and back, as the backends declare', async (t) => {
  const down = await plain(
    4,
    { ':path': '/', cookie: ['a=1', 'b=2'] },
    Buffer.alloc(100_000),
  )
  t.equal(down.body, '1.1 100000 a=1; b=2')
  const up = await ask(proxy.port, 6, '/p', { method: 'POST', body: 'hello' })
  t.equal(up.body, 'hello')
  t.equal(up.headers['x-path'], '/p')
  t.equal(up.trailers['x-sum'], '7')
})

t.test('bytes that are not HTTP/2 end the connection and are counted', async (t) => {
  await t.rejects(ask(proxy.port, 3, '/'))
  await until(
    async () => (await proxy.metric('pillion_protocol_errors_total')) === 1,
    'the count',
  )
})
