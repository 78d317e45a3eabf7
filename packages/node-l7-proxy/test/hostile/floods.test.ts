// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Floods of HTTP/2 frames (CVE-2023-44487, CVE-2025-8671, CVE-2024-27983 and the others of their kind): the connection is cut
// before it cost much, memory stays flat, no request is left behind at the backend, and others are served meanwhile.
import { setImmediate as turn } from 'node:timers/promises'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import {
  block,
  code,
  flag,
  frame,
  get,
  RawHttp2,
  request,
  settings,
  type,
  uint32,
} from '../support/h2-frames.ts'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const mib = 1_048_576
/** A connection that got through more than this was not cut (the criterion of Envoy's flood tests). */
const floodBytes = 100 * mib
const growthBytes = 96 * mib

let inFlight = 0
let most = 0
const backend = await httpBackend((request, response) => {
  if (request.url === '/fine') {
    response.end('fine')
    return
  }
  most = Math.max(most, ++inFlight)
  response.on('close', () => inFlight--)
})
const proxy = await startProxy([
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', backend.port),
  service(2, 'h2', L7Protocol.HTTP2),
  table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
])
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})

type Flood = {
  readonly greeting?: Buffer
  /** Once, before. */
  readonly first?: Buffer
  /** Again and again; `i` counts. */
  readonly piece: (i: number) => Buffer
  /** False: the client never reads what comes back. */
  readonly reads?: boolean
}

const open = frame(
  type.headers,
  flag.endHeaders,
  1,
  block([':method', 'POST'], ...get.slice(1)),
)
const id = (i: number): number => 2 * i + 1
const many = (bytes: Buffer): Buffer => Buffer.concat(Array<Buffer>(500).fill(bytes))
const hundred = (one: (i: number) => Buffer) => (i: number) =>
  Buffer.concat(Array.from({ length: 100 }, (_, k) => one(100 * i + k)))

const ping = many(frame(type.ping, 0, 0, '12345678'))
const pong = many(frame(type.ping, flag.ack, 0, '12345678'))
const set = many(frame(type.settings, 0, 0))
const resize = many(frame(type.settings, 0, 0, settings([1, 0], [1, 4096])))
const priority = many(frame(type.priority, 0, 99, Buffer.from([0, 0, 0, 0, 16])))
const window = many(frame(type.windowUpdate, 0, 0, uint32(1)))
const empty = many(frame(type.data, 0, 1))
const padding = many(
  frame(type.data, flag.padded, 1, Buffer.from([200, ...Buffer.alloc(200)])),
)
const unknown = many(frame(0xfa, 0, 0, 'x'))
const large = frame(0xfa, 0, 0, Buffer.alloc(16_384))
const rst = many(frame(type.rst, 0, 1, uint32(code.cancel)))

const floods: Readonly<Record<string, Flood>> = {
  PING: { piece: () => ping },
  'PING, answers unread': { piece: () => ping, reads: false },
  'PING acknowledgements': { piece: () => pong },
  SETTINGS: { piece: () => set },
  'SETTINGS, answers unread': { piece: () => set, reads: false },
  'SETTINGS of the header table': { piece: () => resize },
  PRIORITY: { piece: () => priority },
  'WINDOW_UPDATE of the connection': { piece: () => window },
  'empty DATA': { first: open, piece: () => empty },
  'DATA that is padding': { first: open, piece: () => padding },
  'frames of no known type': { piece: () => unknown },
  'large frames of no known type': { piece: () => large },
  'RST_STREAM of one stream': { first: open, piece: () => rst },
  'rapid reset': {
    piece: hundred((i) =>
      Buffer.concat([request(id(i)), frame(type.rst, 0, id(i), uint32(code.cancel))]),
    ),
  },
  'resets made by us: WINDOW_UPDATE of 0': {
    piece: hundred((i) =>
      Buffer.concat([request(id(i)), frame(type.windowUpdate, 0, id(i), uint32(0))]),
    ),
  },
  'resets made by us: window too large': {
    piece: hundred((i) =>
      Buffer.concat([
        request(id(i)),
        frame(type.windowUpdate, 0, id(i), uint32(0x7fffffff)),
      ]),
    ),
  },
  'resets made by us: DATA after the end': {
    piece: hundred((i) =>
      Buffer.concat([request(id(i)), frame(type.data, 0, id(i), 'x')]),
    ),
  },
  'resets made by us: priority of itself': {
    piece: hundred((i) =>
      frame(
        type.headers,
        flag.endStream | flag.endHeaders | flag.priority,
        id(i),
        Buffer.concat([uint32(id(i)), Buffer.from([1]), block(...get)]),
      ),
    ),
  },
  'malformed requests': { piece: hundred((i) => request(id(i), [['x', 'y']])) },
  'too many streams': { piece: hundred((i) => request(id(i))) },
  CONTINUATION: {
    first: frame(type.headers, 0, 1, block(...get)),
    piece: (i) => frame(type.continuation, 0, 1, block([`x-${i}`, 'y'.repeat(1000)])),
  },
  'CONTINUATION, empty': {
    first: frame(type.headers, 0, 1, block(...get)),
    piece: () => many(frame(type.continuation, 0, 1)),
  },
  'headers that grow from the table': {
    piece: hundred((i) =>
      request(id(i), [
        ...get,
        ...Array.from({ length: 200 }, () => ['x', 'y'.repeat(60)] as const),
      ]),
    ),
  },
}

for (const [name, flood] of Object.entries(floods)) {
  t.test(name, async (t) => {
    const before = await proxy.metric('pillion_memory_bytes')
    most = 0
    const client = new RawHttp2(proxy.port, 2, flood.greeting ?? true)
    if (flood.reads === false) client.socket.pause()
    if (flood.first !== undefined) client.send(flood.first)
    const victim = serveOthers(() => client.closed)
    let sent = 0
    for (
      let i = 0;
      !client.closed && !client.socket.destroyed && sent < floodBytes;
      i++
    ) {
      const piece = flood.piece(i)
      sent += piece.length
      if (client.send(piece)) await turn()
      else await drained(client)
    }
    // Without reading, the end is a reset that shows when something is written.
    const cut = client.closed || client.socket.destroyed
    client.destroy()
    t.ok(cut, `cut after ${sent} bytes`)
    t.comment(
      `${name}: cut after ${sent} bytes, GOAWAY ${client.goaway ?? 'unseen'}, others' slowest ${await victim} ms`,
    )
    t.ok(most <= 100, `at most ${most} requests at the backend at once`)
    const quiet = async (): Promise<boolean> =>
      inFlight === 0 && (await proxy.metric('pillion_active_requests')) === 0
    await until(quiet, 'no request left')
    const grown = (await proxy.metric('pillion_memory_bytes')) - before
    t.ok(grown < growthBytes, `memory grew by ${Math.round(grown / mib)} MiB`)
    t.equal((await ask(proxy.port, 1, '/fine', { from: 9 })).body, 'fine')
  })
}

// CVE-2026-21714: node kept every session that such a client had broken.
t.test('connections whose windows overflow leave nothing behind', async (t) => {
  const most = frame(type.windowUpdate, 0, 0, uint32(0x7fffffff))
  const burst = async (): Promise<void> => {
    const clients = Array.from({ length: 50 }, () => new RawHttp2(proxy.port, 2))
    for (const client of clients) client.send(most, most)
    await until(() => clients.every(({ closed }) => closed), 'the end of all')
  }
  for (let i = 0; i < 10; i++) await burst()
  const before = await proxy.metric('pillion_memory_bytes')
  for (let i = 0; i < 40; i++) await burst()
  const grown = (await proxy.metric('pillion_memory_bytes')) - before
  t.ok(grown < 40 * mib, `2000 connections left ${Math.round(grown / mib)} MiB`)
  t.equal(await proxy.metric('pillion_active_connections'), 0)
})

t.test('counted, and nothing crashed', async (t) => {
  t.ok((await proxy.metric('pillion_http2_floods_total')) > 0)
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
})

/** Asks in a row until `over`; resolves with the longest wait in milliseconds. */
async function serveOthers(over: () => boolean): Promise<number> {
  let slowest = 0
  do {
    const started = performance.now()
    const { body } = await ask(proxy.port, 1, '/fine', { from: 9 })
    if (body !== 'fine') throw new Error(`another client got ${body}`)
    slowest = Math.max(slowest, performance.now() - started)
    await turn()
  } while (!over())
  return Math.round(slowest)
}

async function drained({ socket }: RawHttp2): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const done = (): void => {
    resolve(undefined)
  }
  socket.once('drain', done).once('close', done)
  const timer = setTimeout(done, 2000)
  await promise
  clearTimeout(timer)
  socket.off('drain', done).off('close', done)
}
