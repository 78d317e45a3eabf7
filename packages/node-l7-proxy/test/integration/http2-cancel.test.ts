// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// HTTP/2 connections outlive what is given up on them: node counts the unsent bytes of a stream that was reset as memory of its
// session for ever, and at ten megabytes refuses streams, then the session.
import http from 'node:http'
import http2 from 'node:http2'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { type Backend, httpBackend, listen } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'

/** Of 32 KiB or more each: beyond ten megabytes. */
const rounds = 500
const chunk = Buffer.alloc(16_384)

const web = await httpBackend((request, response) => {
  response.on('error', () => undefined)
  if (request.url === '/fine') response.end('fine')
  else endless(response)
})
let sessions = 0
const sink: Backend = await listen(
  http2
    .createServer({ maxSessionMemory: 1_000_000 }, (request, response) => {
      request.on('error', () => undefined)
      // An upload is never read.
      if (request.url === '/fine') response.end('fine')
    })
    .on('session', () => sessions++),
)
const proxy = await startProxy([
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', web.port),
  service(2, 'h2', L7Protocol.HTTP2),
  table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
  service(3, 'sink', L7Protocol.HTTP2),
  endpoint(3, 'sink', sink.port),
])
t.teardown(async () => {
  await proxy.stop()
  await Promise.all([web, sink].map((backend) => backend.close()))
})

/** Writes until nobody listens. */
function endless(response: http.ServerResponse): void {
  while (!response.destroyed && response.write(chunk));
  if (!response.destroyed) response.once('drain', () => endless(response))
}

/** Later, when the window is full and the proxy has more than it may send. */
function giveUp(stream: http2.ClientHttp2Stream): void {
  setTimeout(() => {
    stream.close(http2.constants.NGHTTP2_CANCEL)
  }, 2)
}

/** A GET; calls `onData` when the body begins, and resolves at its end with the status. */
async function ask(
  session: http2.ClientHttp2Session,
  path: string,
  onData?: (stream: http2.ClientHttp2Stream) => void,
): Promise<{ readonly status: string }> {
  const stream = session.request({ ':path': path })
  let status = 'no answer'
  stream.on('error', () => undefined)
  stream.on('response', (headers) => (status = String(headers[':status'])))
  if (onData === undefined) stream.resume()
  else
    stream.once('readable', () => {
      onData(stream)
    })
  await new Promise((resolve) => stream.once('close', resolve)) // events.once() would reject on a reset
  return { status }
}

t.test('downloads', async (t) => {
  const session = http2.connect(`http://127.0.0.2:${proxy.port}`)
  session.on('error', () => undefined)
  let good = 0
  for (let i = 0; i < rounds && !session.closed; i++)
    if ((await ask(session, '/endless', giveUp)).status === '200') good++
  t.equal(good, rounds, 'answers on one connection')
  t.notOk(session.closed, 'the connection is alive')
  session.destroy()
})

t.test('uploads', async (t) => {
  const session = http2.connect(`http://127.0.0.3:${proxy.port}`)
  session.on('error', () => undefined)
  for (let i = 0; i < rounds && !session.closed; i++) {
    const stream = session.request({ ':method': 'POST', ':path': '/endless' })
    stream.on('error', () => undefined)
    // More than the windows of the endpoint, so that some of it stays with the proxy.
    stream.write(Buffer.alloc(200_000))
    setTimeout(() => {
      stream.close(http2.constants.NGHTTP2_CANCEL)
    }, 5)
    await new Promise((resolve) => stream.once('close', resolve))
  }
  t.equal((await ask(session, '/fine')).status, '200')
  t.equal(sessions, 1, 'connections to the endpoint')
  session.destroy()
})

t.test('nothing crashed', async (t) => {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
  t.equal(await proxy.metric('pillion_active_requests'), 0)
})
