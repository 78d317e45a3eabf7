// SPDX-License-Identifier: Apache-2.0
// Frames against RFC 9113 sections 4 to 6 and header blocks against RFC 7541, after the list of h2spec. "connection":
// the connection ends; "stream": the stream at least; "alive": neither, PING is answered and a request served.
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import {
  block,
  flag,
  frame,
  get,
  preface,
  RawHttp2,
  request,
  settings,
  type,
  uint32,
} from '../support/h2-frames.ts'
import { httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const backend = await httpBackend((request, response) => {
  request.resume()
  request.on('end', () => response.end('fine'))
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

const post = [[':method', 'POST'], ...get.slice(1)] as const
const both = flag.endStream | flag.endHeaders
/** A request on stream 1 whose body is still to come. */
const open = frame(type.headers, flag.endHeaders, 1, block(...post))
const done = request(1)
const zero = uint32(0)
const raw = (bytes: readonly number[]): Buffer =>
  frame(type.headers, both, 1, Buffer.from(bytes))

type Expected = 'connection' | 'stream' | 'alive'
const cases: Readonly<Record<string, readonly [Expected, ...Buffer[]]>> = {
  '4.1 unknown type': ['alive', frame(0xff, 0, 0, 'x')],
  '4.1 unknown flags': ['alive', frame(type.ping, 0xfe, 0, '12345678')],
  '4.1 reserved bit': ['alive', frame(type.ping, 0, 0x80000000, '12345678')],
  '4.2 DATA too large': ['stream', open, frame(type.data, 0, 1, Buffer.alloc(16_385))],
  '4.2 HEADERS too large': [
    'connection',
    frame(type.headers, both, 1, Buffer.alloc(16_385)),
  ],
  '4.3 index 0': ['connection', raw([0x80])],
  '4.3 index beyond the table': ['connection', raw([0xff, 0x80, 0x80, 0x01])],
  '4.3 integer without end': ['connection', raw([0xff, ...Array<number>(20).fill(0xff)])],
  '4.3 string beyond the block': ['connection', raw([0, 0x7f, 0xff, 0x7f, 1])],
  '4.3 Huffman with EOS': ['connection', raw([0, 0x84, 0xff, 0xff, 0xff, 0xff, 0])],
  '4.3 Huffman padding too long': ['connection', raw([0, 0x82, 0x1f, 0xff, 0])],
  '4.3 table size beyond SETTINGS': ['connection', raw([0x3f, 0xe1, 0xff, 0x7f])],
  '4.3 table size at the end': ['connection', raw([0x82, 0x86, 0x84, 0x20])],
  '4.3 PRIORITY inside a block': [
    'connection',
    frame(type.headers, 1, 1, block(...get)),
    frame(type.priority, 0, 1, Buffer.from([0, 0, 0, 0, 1])),
    frame(type.continuation, 4, 1),
  ],
  '4.3 HEADERS of another stream inside a block': [
    'connection',
    frame(type.headers, 1, 1, block(...get)),
    request(3),
  ],
  '5.1 DATA on an idle stream': ['connection', frame(type.data, 1, 1, 'x')],
  '5.1 RST_STREAM on an idle stream': ['connection', frame(type.rst, 0, 1, uint32(8))],
  '5.1 WINDOW_UPDATE on an idle stream': [
    'connection',
    frame(type.windowUpdate, 0, 1, uint32(1)),
  ],
  '5.1 CONTINUATION on an idle stream': [
    'connection',
    frame(type.continuation, 4, 1, block(...get)),
  ],
  '5.1 DATA after the end': [
    'stream',
    open,
    frame(type.data, 1, 1, 'x'),
    frame(type.data, 1, 1, 'x'),
  ],
  '5.1 HEADERS after the end': ['stream', open, frame(type.data, 1, 1, 'x'), done],
  '5.1 CONTINUATION after the end': ['connection', done, frame(type.continuation, 4, 1)],
  '5.1.1 even stream': ['connection', request(2)],
  // Two that nghttp2 lets pass, where the RFC wants the connection to end; nothing comes of them.
  '5.1.1 smaller stream': ['alive', request(5), request(3)],
  '5.3.1 depends on itself': [
    'stream',
    frame(
      type.headers,
      both | flag.priority,
      1,
      Buffer.concat([uint32(1), Buffer.from([1]), block(...get)]),
    ),
  ],
  '5.5 extension frame inside a block': [
    'connection',
    frame(type.headers, 1, 1, block(...get)),
    frame(0xfa, 0, 0),
    frame(type.continuation, 4, 1),
  ],
  '6.1 DATA on stream 0': ['connection', frame(type.data, 0, 0, 'x')],
  '6.1 padding longer than DATA': [
    'connection',
    open,
    frame(type.data, flag.padded, 1, Buffer.from([9, 1])),
  ],
  '6.2 HEADERS on stream 0': ['connection', frame(type.headers, both, 0, block(...get))],
  '6.2 padding longer than HEADERS': [
    'connection',
    frame(type.headers, both | flag.padded, 1, Buffer.from([200, 0x82])),
  ],
  '6.2 second HEADERS without the end': [
    'stream',
    open,
    frame(type.headers, flag.endHeaders, 1, block(['x', 'y'])),
  ],
  '6.3 PRIORITY on stream 0': ['alive', frame(type.priority, 0, 0, Buffer.alloc(5))],
  '6.3 PRIORITY of 4 bytes': ['stream', open, frame(type.priority, 0, 1, zero)],
  '6.4 RST_STREAM on stream 0': ['connection', frame(type.rst, 0, 0, zero)],
  '6.4 RST_STREAM of 3 bytes': ['connection', open, frame(type.rst, 0, 1, 'xxx')],
  '6.5 SETTINGS ACK with a payload': [
    'connection',
    frame(type.settings, flag.ack, 0, settings([1, 1])),
  ],
  '6.5 SETTINGS on a stream': [
    'connection',
    frame(type.settings, 0, 1, settings([1, 1])),
  ],
  '6.5 SETTINGS of 5 bytes': ['connection', frame(type.settings, 0, 0, Buffer.alloc(5))],
  '6.5.2 ENABLE_PUSH 2': ['connection', frame(type.settings, 0, 0, settings([2, 2]))],
  '6.5.2 window beyond 2^31-1': [
    'connection',
    frame(type.settings, 0, 0, settings([4, 0x80000000])),
  ],
  '6.5.2 frame size too small': [
    'connection',
    frame(type.settings, 0, 0, settings([5, 16_383])),
  ],
  '6.5.2 frame size too large': [
    'connection',
    frame(type.settings, 0, 0, settings([5, 0x1000000])),
  ],
  '6.5.2 unknown setting': ['alive', frame(type.settings, 0, 0, settings([0xff, 1]))],
  '6.6 PUSH_PROMISE from a client': [
    'connection',
    frame(type.push, 4, 1, Buffer.concat([uint32(2), block(...get)])),
  ],
  '6.7 PING on a stream': ['connection', frame(type.ping, 0, 1, '12345678')],
  '6.7 PING of 6 bytes': ['connection', frame(type.ping, 0, 0, '123456')],
  '6.8 GOAWAY on a stream': ['connection', frame(type.goaway, 0, 1, Buffer.alloc(8))],
  '6.9 WINDOW_UPDATE of 0': ['connection', frame(type.windowUpdate, 0, 0, zero)],
  '6.9 WINDOW_UPDATE of 0 on a stream': [
    'stream',
    open,
    frame(type.windowUpdate, 0, 1, zero),
  ],
  '6.9 WINDOW_UPDATE of 3 bytes': ['connection', frame(type.windowUpdate, 0, 0, 'xxx')],
  '6.9.1 window overflow': [
    'connection',
    frame(type.windowUpdate, 0, 0, uint32(0x7fffffff)),
    frame(type.windowUpdate, 0, 0, uint32(0x7fffffff)),
  ],
  '6.9.1 window overflow on a stream': [
    'stream',
    open,
    frame(type.windowUpdate, 0, 1, uint32(0x7fffffff)),
  ],
  '6.10 CONTINUATION after END_HEADERS': [
    'connection',
    open,
    frame(type.continuation, 4, 1, block(['x', 'y'])),
  ],
  '6.10 CONTINUATION on stream 0': [
    'connection',
    frame(type.headers, 1, 1, block(...get)),
    frame(type.continuation, 4, 0),
  ],
  '6.10 CONTINUATION after DATA': [
    'connection',
    open,
    frame(type.data, 0, 1, 'x'),
    frame(type.continuation, 4, 1),
  ],
}

for (const [name, [expected, ...frames]] of Object.entries(cases)) {
  t.test(name, async (t) => {
    const client = new RawHttp2(proxy.port, 2)
    client.send(...frames)
    const ended = (): boolean => client.closed || (client.goaway ?? 0) !== 0
    if (expected === 'alive') {
      t.ok(await client.isAlive(), 'PING is answered')
      client.send(request(7))
      t.equal(await client.outcome(7), '200')
    } else {
      const reset = (): boolean => expected === 'stream' && client.of(type.rst).length > 0
      await until(() => ended() || reset(), `the end of the ${expected}`, 5000)
      t.pass(expected)
    }
    client.destroy()
  })
}

t.test('3.5 what is no preface', async (t) => {
  for (const bytes of [
    'GET / HTTP/1.1\r\nhost: a\r\n\r\n',
    preface.replace('SM', 'XX'),
    '\x16\x03\x01',
  ]) {
    const client = new RawHttp2(proxy.port, 2, false)
    client.send(bytes)
    client.socket.end()
    await until(() => client.closed, 'the end')
    t.pass()
  }
})

t.test('nothing crashed, nothing stayed', async (t) => {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'no request',
  )
})
