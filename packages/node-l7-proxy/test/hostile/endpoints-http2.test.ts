// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// HTTP/2 endpoints that flood, stall, and answer what nobody asked. The client gets a clear answer or sees the cut, floods are
// cut off and counted, memory stays bounded, and other endpoints serve on.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { block, code, flag, frame, settings, type, uint32 } from '../support/h2-frames.ts'
import { httpBackend, listen } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { judge } from '../support/rude-cases.ts'
import { rudeHttp2, type Rudeness } from '../support/rude-frames.ts'

const both = flag.endStream | flag.endHeaders
const head = (stream: number, ...more: readonly (readonly [string, string])[]): Buffer =>
  frame(type.headers, flag.endHeaders, stream, block([':status', '200'], ...more))
const end = (stream: number, text = ''): Buffer =>
  frame(type.data, flag.endStream, stream, text)
const many = (bytes: Buffer): Buffer => Buffer.concat(Array<Buffer>(500).fill(bytes))
const [zero, one] = [uint32(0), uint32(1)]
const wide = (i: number): Buffer => block([`x-${i}`, 'y'.repeat(4000)])
const ok = (stream: number): Buffer =>
  frame(type.headers, both, stream, block([':status', '200']))

/** One literal of 4 KiB into the dynamic table, then three thousand references of one byte. */
const bomb = Buffer.concat([
  Buffer.from([0x88, 0x40, 1]),
  Buffer.from('x'),
  Buffer.from([0x7f, 0xa1, 0x1e]),
  Buffer.alloc(4000, 'y'),
  Buffer.alloc(3000, 0xbe),
])

/** Expected: statuses that the client may get, or "cut": the answer had begun, and its end is seen to be missing. */
type Case = readonly [expected: string, rude: Rudeness, method?: 'POST']
const cases: Readonly<Record<string, Case>> = {
  'flood-settings': ['502 503', { flood: () => many(frame(type.settings, 0, 0)) }],
  'flood-settings-acks': [
    '502 503',
    { flood: () => many(frame(type.settings, flag.ack, 0)) },
  ],
  'flood-table-sizes': [
    '502 503',
    { flood: () => many(frame(type.settings, 0, 0, settings([1, 0], [1, 4096]))) },
  ],
  'flood-ping': ['502 503', { flood: () => many(frame(type.ping, 0, 0, '12345678')) }],
  'flood-ping-unread': [
    '502 503',
    { reads: false, flood: () => many(frame(type.ping, 0, 0, '12345678')) },
  ],
  'flood-ping-acks': [
    '502',
    { flood: () => many(frame(type.ping, flag.ack, 0, '12345678')) },
  ],
  'flood-reset': [
    '502 503',
    { flood: (stream) => many(frame(type.rst, 0, stream, uint32(code.internal))) },
  ],
  'flood-window': ['502 503', { flood: () => many(frame(type.windowUpdate, 0, 0, one)) }],
  'flood-priority': [
    '502 503',
    { flood: () => many(frame(type.priority, 0, 99, Buffer.from([0, 0, 0, 0, 16]))) },
  ],
  'flood-unknown': ['502 503', { flood: () => frame(0xfa, 0, 0, Buffer.alloc(16_384)) }],
  'flood-altsvc': ['502 503', { flood: () => many(frame(0xa, 0, 1, '\0\0h2="x:1"')) }],
  'flood-origin': [
    '502 503',
    { flood: () => many(frame(0xc, 0, 0, '\0\x0ahttp://a.b')) },
  ],
  'flood-empty-data': [
    'cut',
    { answer: head, flood: (stream) => many(frame(type.data, 0, stream)) },
  ],
  'flood-padding': [
    'cut',
    {
      answer: head,
      flood: (stream) =>
        many(
          frame(type.data, flag.padded, stream, Buffer.from([200, ...Buffer.alloc(200)])),
        ),
    },
  ],
  'flood-continuation': [
    '502 503',
    {
      answer: (stream) => frame(type.headers, 0, stream, block([':status', '200'])),
      flood: (stream, i) => frame(type.continuation, 0, stream, wide(i)),
    },
  ],
  'flood-continuation-empty': [
    '502 503',
    {
      answer: (stream) => frame(type.headers, 0, stream, block([':status', '200'])),
      flood: (stream) => many(frame(type.continuation, 0, stream)),
    },
  ],
  'flood-trailers': [
    'cut',
    {
      answer: (stream) => Buffer.concat([head(stream), frame(type.headers, 1, stream)]),
      flood: (stream, i) => frame(type.continuation, 0, stream, wide(i)),
    },
  ],
  'flood-heads': [
    'cut',
    { answer: head, flood: (stream) => many(head(stream, ['x', 'y'])) },
  ],
  'flood-interim': [
    '502',
    {
      flood: (stream) =>
        many(frame(type.headers, flag.endHeaders, stream, block([':status', '103']))),
    },
  ],
  'flood-push': [
    '502',
    {
      flood: (stream, i) => frame(type.push, flag.endHeaders, stream, uint32(2 * i + 2)),
    },
  ],
  'header-list-huge': [
    '502',
    {
      answer: (stream) =>
        Buffer.concat([
          frame(type.headers, 1, stream, block([':status', '200'])),
          ...[1, 2, 3, 4, 5, 6].map((i) =>
            frame(
              type.continuation,
              i === 6 ? flag.endHeaders : 0,
              stream,
              block([`x-${i}`, 'y'.repeat(16_000)]),
            ),
          ),
        ]),
    },
  ],
  'header-fields-many': [
    '502 503',
    {
      answer: (stream) =>
        head(stream, ...Array.from({ length: 900 }, (_, i) => [`x-${i}`, 'y'] as const)),
    },
  ],
  'hpack-bomb': [
    '502 503',
    { answer: (stream) => frame(type.headers, both, stream, bomb) },
  ],
  'hpack-index-none': [
    '502',
    {
      answer: (stream) => frame(type.headers, both, stream, Buffer.from([0xff, 0x80, 1])),
    },
  ],
  'goaway-at-once': [
    '503',
    {
      greeting: Buffer.concat([
        frame(type.settings, 0, 0),
        frame(type.goaway, 0, 0, Buffer.alloc(8)),
      ]),
      ends: true,
    },
  ],
  'goaway-instead': [
    '503',
    { answer: () => frame(type.goaway, 0, 0, Buffer.alloc(8)), ends: true },
  ],
  'goaway-and-open': [
    '503 504',
    { answer: () => frame(type.goaway, 0, 0, Buffer.alloc(8)) },
  ],
  'goaway-calm': [
    '502 503',
    { answer: () => frame(type.goaway, 0, 0, Buffer.concat([zero, uint32(code.calm)])) },
  ],
  'goaway-flood': [
    '502 503',
    { flood: () => many(frame(type.goaway, 0, 0, Buffer.alloc(8))) },
  ],
  'ends-at-once': ['502 503', { greeting: '', answer: () => '', ends: true }],
  refused: [
    '503',
    { answer: (stream) => frame(type.rst, 0, stream, uint32(code.refused)) },
  ],
  reset: [
    '502 503',
    { answer: (stream) => frame(type.rst, 0, stream, uint32(code.internal)) },
  ],
  'reset-after-head': [
    'cut',
    {
      answer: (stream) =>
        Buffer.concat([head(stream), frame(type.rst, 0, stream, uint32(code.internal))]),
    },
  ],
  'window-of-0': [
    '502 503',
    { answer: (stream) => frame(type.windowUpdate, 0, stream, zero) },
  ],
  'window-of-0-of-all': ['502', { answer: () => frame(type.windowUpdate, 0, 0, zero) }],
  'window-overflow': [
    '502 503',
    {
      answer: () =>
        Buffer.concat(
          [1, 2].map(() => frame(type.windowUpdate, 0, 0, uint32(0x7fffffff))),
        ),
    },
  ],
  'window-0-for-ever': [
    '504',
    { greeting: frame(type.settings, 0, 0, settings([4, 0])) },
    'POST',
  ],
  'streams-0': ['503 504', { greeting: frame(type.settings, 0, 0, settings([3, 0])) }],
  'settings-never': ['504', { greeting: '', acks: false }],
  'settings-unacknowledged': ['200', { acks: false, answer: ok }],
  'settings-bad-window': [
    '502',
    { greeting: frame(type.settings, 0, 0, settings([4, 0x80000000])) },
  ],
  silent: ['504', {}],
  'body-too-long': [
    'cut',
    {
      answer: (stream) =>
        Buffer.concat([head(stream, ['content-length', '3']), end(stream, 'four')]),
    },
  ],
  'body-too-short': [
    'cut',
    {
      answer: (stream) =>
        Buffer.concat([head(stream, ['content-length', '5']), end(stream, 'four')]),
    },
  ],
  'other-stream': ['502', { answer: (stream) => head(stream + 2) }],
  'even-stream': ['502', { answer: () => head(2) }],
  'frame-too-large': [
    'cut',
    {
      answer: (stream) =>
        Buffer.concat([head(stream), frame(type.data, 0, stream, Buffer.alloc(16_385))]),
    },
  ],
  'http1-instead': [
    '502',
    { greeting: '', answer: () => 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n' },
  ],
  'no-status': [
    '502',
    { answer: (stream) => frame(type.headers, both, stream, block(['x', 'y'])) },
  ],
  'status-1000': [
    '502',
    { answer: (stream) => frame(type.headers, both, stream, block([':status', '1000'])) },
  ],
  'status-101': [
    '502',
    {
      answer: (stream) =>
        frame(type.headers, flag.endHeaders, stream, block([':status', '101'])),
    },
  ],
  'interim-ends': [
    '502',
    { answer: (stream) => frame(type.headers, both, stream, block([':status', '103'])) },
  ],
  'data-before-head': ['502', { answer: (stream) => end(stream, 'x') }],
  'ends-without-head': ['502', { answer: (stream) => end(stream) }],
}

const names = Object.keys(cases)
const fine = await httpBackend((_request, response) => response.end('fine'))
let sessions = 0
const large = await listen(
  http2
    .createServer({ maxSessionMemory: 1_000_000 }, (_request, response) => {
      response.on('error', () => undefined)
      response.end(Buffer.alloc(8_388_608))
    })
    .on('session', () => sessions++),
)
const rude = await Promise.all(Object.values(cases).map(([, each]) => rudeHttp2(each)))
const proxy = await startProxy([
  service(1, 'front', L7Protocol.HTTP),
  service(2, 'fine', L7Protocol.HTTP),
  endpoint(2, 'fine', fine.port),
  service(3, 'large', L7Protocol.HTTP2),
  endpoint(3, 'large', large.port),
  table(1, 'front', {
    hasRoutes: true,
    rules: [
      ...names.map((name) => rule(`/${name}`, { [name]: 1 }, { requestTimeoutMs: 2000 })),
      rule('/fine', { fine: 1 }),
      rule('/large', { large: 1 }),
    ],
  }),
  ...names.flatMap((name, i) => [
    service(10 + i, name, L7Protocol.HTTP2),
    endpoint(10 + i, name, rude[i]?.port ?? 0),
  ]),
])
t.teardown(async () => {
  await proxy.stop()
  await Promise.all([fine, large, ...rude].map((each) => each.close()))
})

for (const [i, [name, [expected, { flood }, method]]] of Object.entries(
  cases,
).entries()) {
  const peer = rude[i]
  if (peer === undefined) continue
  t.test(name, async (t) => {
    const floods = flood !== undefined
    await judge(t, proxy, { name, expected, way: method ?? 'GET', peer, floods })
  })
}

t.test('downloads that clients give up are no flood', async (t) => {
  const before = await proxy.metric('pillion_upstream_floods_total')
  for (let i = 0; i < 60; i++) {
    const options = { host: '127.0.0.1', port: proxy.port, path: '/large', agent: false }
    const request = http.get(options)
    request.on('error', () => undefined)
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    await once(response, 'data')
    // Unread, so that the endpoint fills the window of the stream.
    await new Promise((resolve) => setTimeout(resolve, 5))
    request.destroy()
  }
  t.equal(await proxy.metric('pillion_upstream_floods_total'), before)
  t.equal(sessions, 1, 'connections to the endpoint')
})

t.test('nothing crashed, nothing stayed', async (t) => {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
  t.equal(await proxy.metric('pillion_active_requests'), 0)
  t.ok((await proxy.metric('pillion_upstream_floods_total')) > 0)
  t.ok((await proxy.metric('pillion_upstream_protocol_errors_total')) > 0)
})
