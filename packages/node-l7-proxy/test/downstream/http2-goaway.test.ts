// SPDX-License-Identifier: Apache-2.0
// Sessions that end under load: no stream that a client opened in good faith is refused.
import http2 from 'node:http2'
import t from 'tap'
import { closeGracefully } from '../../src/downstream/http2-goaway.ts'
import {
  frame,
  get,
  RawHttp2,
  request,
  settings,
  type,
  uint32,
} from '../support/h2-frames.ts'
import { listen } from '../support/http.ts'
import { until } from '../support/wait.ts'

const sessions = new Set<http2.ServerHttp2Session>()
const large = Buffer.alloc(32 << 20)
const server = http2.createServer((request, response) =>
  response.end(request.method === 'PUT' ? large : 'x'.repeat(3000)),
)
server.on('session', (session) => {
  sessions.add(session)
  closeGracefully(session)
  session.on('close', () => sessions.delete(session))
})
const backend = await listen(server)
t.teardown(async () => backend.close())

/** Streams of one session, 32 at a time, until it is told to go; then all that were opened must be answered. */
async function untilGoaway(
  client: RawHttp2,
): Promise<{ opened: number; answered: number }> {
  const answered = (): number => client.of(type.headers).length
  let opened = 0
  const isTold = (): boolean => client.of(type.goaway).length > 0
  while (!isTold()) {
    const more = Math.max(0, 32 - (opened - answered()))
    client.send(...Array.from({ length: more }, (_, i) => request(2 * (opened + i) + 1)))
    opened += more
    await until(() => isTold() || opened - answered() < 16, 'answers')
  }
  await until(() => answered() === opened || client.closed, 'the rest')
  return { opened, answered: answered() }
}

// Not node's own client: it refuses, by itself, what it has not sent when GOAWAY comes.
t.test('under load', async (t) => {
  for (let round = 0; round < 30; round++) {
    const client = new RawHttp2(backend.port, 1)
    const done = untilGoaway(client)
    await until(() => client.of(type.headers).length > 40, 'load')
    for (const session of sessions) {
      session.close()
      session.close()
    }
    const { opened, answered } = await done
    if (answered !== opened || client.of(type.rst).length > 0)
      t.fail(`${opened - answered} of ${opened} streams were refused`)
    client.destroy()
    await until(() => sessions.size === 0, 'the end')
  }
  t.pass('30 sessions')
})

t.test('a stream that comes after the first GOAWAY is served', async (t) => {
  const client = new RawHttp2(backend.port, 1)
  t.teardown(() => client.socket.destroy())
  const of = (kind: number) => client.frames.filter((frame) => frame.type === kind)
  await until(() => sessions.size === 1 && of(type.settings).length > 1, 'the session')
  for (const session of sessions) session.close()
  await until(() => of(type.ping).length === 1, 'a ping')
  t.equal(of(type.goaway)[0]?.payload.toString('hex'), '7fffffff00000000')
  client.socket.write(request(1))
  await until(() => of(type.headers).length === 1, 'its answer')
  await until(() => client.closed, 'the end, without an answer to the ping')
  t.equal(of(type.goaway)[1]?.payload.toString('hex'), '0000000100000000')
  t.equal(of(type.rst).length, 0)
})

t.test('beside a download that nobody reads', async (t) => {
  const window = 2 ** 31 - 1
  const client = new RawHttp2(backend.port, 1, settings([4, window]))
  t.teardown(() => client.destroy())
  client.send(frame(type.windowUpdate, 0, 0, uint32(window - 65_535)))
  await until(() => sessions.size === 1, 'the session')
  client.send(request(1, [[':method', 'PUT'], ...get.slice(1)]))
  await until(() => client.of(type.data).length > 0, 'its beginning')
  client.socket.pause()
  const [session] = sessions
  await until(() => session !== undefined && isFull(session), 'a full socket')
  session?.close()
  await new Promise((resolve) => setTimeout(resolve, 700)) // it has had its chance to give up
  client.send(request(3))
  client.socket.resume()
  await until(() => client.of(type.headers, 3).length === 1, 'the answer', 20_000)
  t.equal(client.of(type.goaway)[0]?.payload.toString('hex'), '7fffffff00000000')
})

function isFull(session: http2.ServerHttp2Session): boolean {
  const socket = session.socket as unknown as { _handle: { writeQueueSize: number } }
  return socket._handle.writeQueueSize > 0
}
