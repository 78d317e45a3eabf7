// SPDX-License-Identifier: Apache-2.0
// gRFC A6 through the real processes: pushback, throttling; and connections of HTTP/2 that are used up.
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { L7Protocol, LimitScope, Traffic } from '@pillion/contract'
import t from 'tap'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, service, table } from '../support/resources.ts'

/** When each call was tried, by its path; and what the server says after "fail". */
const tries = new Map<string, number[]>()
let sessions = 0
const server = http2.createServer()
server.on('session', () => sessions++)
server.on('stream', (stream, headers) => {
  const path = headers[':path'] ?? ''
  const seen = tries.get(path) ?? []
  tries.set(path, seen)
  seen.push(performance.now())
  const [, , failures = '0', pushback = ''] = path.split('/')
  const failed = seen.length <= Number(failures)
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': failed ? '14' : '0',
      ...(failed && pushback !== '' && { 'grpc-retry-pushback-ms': pushback }),
    },
    { endStream: true },
  )
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo

const again = retry(3, { grpcCodes: ['UNAVAILABLE'] })
const grpc = (id: number, name: string) => [
  service(id, name, L7Protocol.GRPC),
  endpoint(id, name, port),
]
const proxy = await startProxy([
  ...grpc(1, 'retrying'),
  table(1, 'retrying', { retry: again }),
  ...grpc(2, 'throttled'),
  table(2, 'throttled', {
    retry: again,
    traffic: Traffic.fromPartial({
      retryThrottling: { maxTokens: 4, tokenMilli: 1000 },
    }),
  }),
  ...grpc(3, 'worn'),
  table(3, 'worn', {
    traffic: Traffic.fromPartial({ connectionPool: { maxRequests: 2 } }),
  }),
  ...grpc(4, 'limited'),
  table(4, 'limited', {
    traffic: Traffic.fromPartial({
      rateLimits: [
        { scope: LimitScope.SERVICE, requests: 1, burst: 1, intervalMs: 60_000 },
      ],
    }),
  }),
])
const clients = [1, 2, 3, 4].map((id) =>
  http2.connect(`http://127.0.0.${id}:${proxy.port}`),
)
t.teardown(async () => {
  for (const client of clients) client.destroy()
  await proxy.stop()
  server.close()
})

/** Head of the answer to one call. */
async function call(id: number, path: string): Promise<http2.IncomingHttpHeaders> {
  const stream = clients[id - 1]?.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  if (stream === undefined) throw new Error(`no client ${id}`)
  stream.end()
  const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  stream.resume()
  await once(stream, 'close')
  return head
}

t.test('pushback: exactly so long, or never', async (t) => {
  t.match(await call(1, '/late/1/300'), { 'grpc-status': '0' })
  const [first = 0, second = 0, third] = tries.get('/late/1/300') ?? []
  t.ok(second - first >= 295, `${second - first}`)
  t.equal(third, undefined)
  for (const pushback of ['-1', 'soon']) {
    const path = `/never/1/${pushback}`
    t.match(await call(1, path), { 'grpc-status': '14' })
    t.equal(tries.get(path)?.length, 1, pushback)
  }
})

t.test('throttling: below half of the tokens nothing is tried again', async (t) => {
  t.match(await call(2, '/a/1'), { 'grpc-status': '0' })
  t.equal(tries.get('/a/1')?.length, 2, 'one of four taken, then given back')
  t.match(await call(2, '/b/9'), { 'grpc-status': '14' })
  t.equal(tries.get('/b/9')?.length, 2, 'three left: once more; two left: no more')
  t.equal(await proxy.metric('pillion_retries_throttled_total'), 1)
  t.match(await call(2, '/c/0'), { 'grpc-status': '0' })
  t.match(await call(2, '/d/1'), { 'grpc-status': '14' })
  t.match(await call(2, '/e/0'), { 'grpc-status': '0' })
  t.match(await call(2, '/f/0'), { 'grpc-status': '0' })
  t.match(await call(2, '/g/1'), { 'grpc-status': '0' }, 'retried again')
})

t.test(
  'maxRequestsPerConnection over HTTP/2, one after the other and at once',
  async (t) => {
    const before = sessions
    for (let i = 0; i < 6; i++)
      t.match(await call(3, `/one/0/${i}`), { 'grpc-status': '0' })
    t.equal(sessions - before, 3)
    const heads = await Promise.all(
      Array.from({ length: 10 }, async (_, i) => call(3, `/at-once/0/${i}`)),
    )
    t.ok(heads.every((head) => head['grpc-status'] === '0'))
    t.ok(sessions - before >= 8, String(sessions - before))
  },
)

t.test('a rate limit is RESOURCE_EXHAUSTED to gRPC', async (t) => {
  t.match(await call(4, '/x/0'), { 'grpc-status': '0' })
  t.match(await call(4, '/x/0'), {
    ':status': 200,
    'grpc-status': '8',
    'grpc-message': /^RATE_LIMITED/,
    'retry-after': /^\d+$/,
  })
})
