// SPDX-License-Identifier: Apache-2.0
// RFC 9113 sections 3 to 6, case by case: the list is that of the conformance checker h2spec ("5.1/8": section 5.1, case 8),
// with a few more (no number). Where nghttp2 does something else than h2spec expects, the RFC's words stand beside it.
import t from 'tap'
import { both, type H2Cases, open, playAll, raw } from '../support/h2-cases.ts'
import {
  block,
  code,
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
import { until } from '../support/wait.ts'

const [zero, one, most] = [uint32(0), uint32(1), uint32(0x7fffffff)]
const data = (flags = 0, stream = 1, payload: Buffer | string = 'x'): Buffer =>
  frame(type.data, flags, stream, payload)
const more = (
  flags: number = flag.endHeaders,
  stream = 1,
  payload = block(['x', 'y']),
): Buffer => frame(type.continuation, flags, stream, payload)
/** HEADERS whose block goes on. */
const begun = frame(type.headers, flag.endStream, 1, block(...get))
const rst = frame(type.rst, 0, 1, uint32(code.cancel))
const window = (increment: Buffer | string, stream = 0): Buffer =>
  frame(type.windowUpdate, 0, stream, increment)
const set = (...pairs: readonly (readonly [number, number])[]): Buffer =>
  frame(type.settings, 0, 0, settings(...pairs))
const priority = (stream: number, on: number): Buffer =>
  frame(type.priority, 0, stream, Buffer.concat([uint32(on), Buffer.from([9])]))
const ended = data(flag.endStream)

/** Sends the parts, each when the answer to stream 1 is complete, then expects a living connection. */
const afterAnswer =
  (...frames: Buffer[]) =>
  async (client: RawHttp2): Promise<string> => {
    client.send(request(1))
    await complete(client, 1)
    client.send(...frames)
    if (!(await client.isAlive())) return 'the connection ended'
    return client.of(type.headers).length === 1 ? '' : 'another answer'
  }

async function complete(client: RawHttp2, stream: number): Promise<void> {
  const last = (): boolean => client.of(type.data, stream).some(({ flags }) => flags & 1)
  await until(last, `the end of stream ${stream}`)
}

/** The body arrives in DATA frames of these lengths, after each of the steps. */
const portions =
  (...steps: readonly (readonly [sent: Buffer, received: number])[]) =>
  async (client: RawHttp2): Promise<string> => {
    for (const [sent, received] of steps) {
      client.send(sent)
      const bytes = (): number =>
        client.of(type.data, 1).reduce((sum, { payload }) => sum + payload.length, 0)
      await until(() => bytes() >= received, `${received} bytes`)
      if (!(await client.isAlive())) return 'the connection ended'
      if (bytes() !== received) return `${bytes()} bytes instead of ${received}`
    }
    return ''
  }

const cases: H2Cases = {
  '3.5/1 preface': ['alive'],
  '3.5/2 what is no preface': async (_client, port) => {
    const ends = [
      'GET / HTTP/1.1\r\nhost: a\r\n\r\n',
      preface.replace('SM', 'XX'),
      '\x16\x03\x01',
    ]
    for (const bytes of ends) {
      const client = new RawHttp2(port, 2, false)
      client.send(bytes)
      client.socket.end()
      await until(() => client.closed, 'the end')
      if (client.of(type.headers).length > 0) return `an answer to ${bytes}`
    }
    return ''
  },
  '4.1/1 unknown type': ['alive', frame(0xff, 0, 0, 'x')],
  '4.1/2 unknown flags': ['alive', frame(type.ping, 0xfe, 0, '12345678')],
  '4.1/3 reserved bit': ['alive', frame(type.ping, 0, 0x80000000, '12345678')],
  '4.2/1 DATA of 2^14 bytes': ['answer', open(), data(1, 1, Buffer.alloc(16_384))],
  '4.2/2 DATA too large': ['stream size', open(), data(0, 1, Buffer.alloc(16_385))],
  '4.2/3 HEADERS too large': ['connection size', raw(Buffer.alloc(16_385))],
  '4.3/1 no header block': ['connection compression', raw(0xff, 0xff, 0xff, 0xff, 0xff)],
  '4.3 integer without end': ['connection compression', raw(Buffer.alloc(21, 0xff))],
  '4.3 string beyond the block': ['connection compression', raw(0, 0x7f, 0xff, 0x7f, 1)],
  '4.3/2 PRIORITY inside a block': ['connection protocol', begun, priority(1, 0), more()],
  '4.3/3 HEADERS inside a block': ['connection protocol', begun, request(3)],
  '5.1/1 idle: DATA': ['connection protocol', data(1)],
  '5.1/2 idle: RST_STREAM': ['connection protocol', rst],
  '5.1/3 idle: WINDOW_UPDATE': ['connection protocol', window(one, 1)],
  '5.1/4 idle: CONTINUATION': ['connection protocol', more()],
  '5.1/5 half-closed: DATA': ['stream closed', open(), ended, ended],
  '5.1/6 half-closed: HEADERS': ['stream closed', open(), ended, request(1)],
  '5.1/7 half-closed: CONTINUATION': ['connection protocol', request(1), more()],
  // 5.1, closed: "An endpoint can perform this minimal processing for all streams that are in the "closed" state", which is:
  // "process and then discard any frames it receives". That the connection ends instead is a MAY.
  '5.1/8 reset: DATA': ['alive', open(), rst, data(1)],
  '5.1/9 reset: HEADERS': ['alive', open(), rst, request(1)],
  '5.1/10 reset: CONTINUATION': ['connection protocol', open(), rst, more()],
  '5.1/11 closed: DATA': afterAnswer(data(1)),
  '5.1/12 closed: HEADERS': afterAnswer(request(1)),
  '5.1/13 closed: CONTINUATION': ['connection protocol', request(1), more()],
  '5.1.1/1 even stream': ['connection protocol', request(2)],
  // 5.1.1: "MUST respond with a connection error". nghttp2 takes them for trailers of a stream that it has forgotten, and ignores
  // them: nothing reaches anybody, no stream is opened.
  '5.1.1/2 smaller stream': ['alive', request(5), request(3)],
  // REFUSED_STREAM only until SETTINGS are acknowledged; then a client that opens more is in error.
  '5.1.2/1 more streams than allowed': [
    'stream protocol',
    ...Array.from({ length: 101 }, (_, i) =>
      frame(type.headers, flag.endHeaders, 2 * i + 1, block(...get)),
    ),
  ],
  // RFC 9113 5.3.1 has taken out the tree that the next two are about.
  '5.3.1/1 HEADERS depend on themselves': [
    'stream protocol',
    frame(
      type.headers,
      both | flag.priority,
      1,
      Buffer.concat([one, Buffer.from([1]), block(...get)]),
    ),
  ],
  '5.3.1/2 PRIORITY depends on itself': ['alive', priority(9, 9)],
  '5.4.1/1 wrong PING, and the end': [
    'connection size',
    frame(type.ping, 0, 0, '123456'),
  ],
  '5.4.1/2 wrong PING, and GOAWAY': ['connection size', frame(type.ping, 0, 0, '12345')],
  '5.5/1 extension frame': ['alive', frame(0x16, 0, 0, 'x')],
  '5.5/2 extension frame in a block': ['connection protocol', begun, frame(0xfa, 0, 0)],
  '6.1/1 DATA on stream 0': ['connection protocol', data(1, 0)],
  '6.1/2 DATA on a half-closed stream': ['stream closed', open(), ended, data()],
  '6.1/3 padding longer than DATA': [
    'connection protocol',
    open(),
    data(flag.padded, 1, Buffer.from([9, 1])),
  ],
  '6.2/1 PRIORITY behind HEADERS': ['connection protocol', begun, priority(1, 0)],
  '6.2/2 HEADERS behind HEADERS': ['connection protocol', begun, request(3)],
  '6.2/3 HEADERS on stream 0': ['connection protocol', request(0)],
  '6.2/4 padding longer than HEADERS': [
    'connection protocol',
    frame(type.headers, both | flag.padded, 1, Buffer.from([200, 0x82])),
  ],
  // 6.3: "MUST respond with a connection error". nghttp2 has no PRIORITY any more and reads nothing of it.
  '6.3/1 PRIORITY on stream 0': ['alive', priority(0, 0)],
  '6.3/2 PRIORITY of 4 bytes': ['stream size', open(), frame(type.priority, 0, 1, zero)],
  '6.4/1 RST_STREAM on stream 0': ['connection protocol', frame(type.rst, 0, 0, zero)],
  '6.4/2 RST_STREAM on an idle stream': ['connection protocol', rst],
  '6.4/3 RST_STREAM of 3 bytes': [
    'connection size',
    open(),
    frame(type.rst, 0, 1, 'xxx'),
  ],
  '6.5/1 ACK with a payload': [
    'connection size',
    frame(type.settings, flag.ack, 0, settings([1, 1])),
  ],
  '6.5/2 SETTINGS on a stream': [
    'connection protocol',
    frame(type.settings, 0, 1, settings([1, 1])),
  ],
  '6.5/3 SETTINGS of 5 bytes': ['connection size', frame(type.settings, 0, 0, 'xxxxx')],
  '6.5.2/1 ENABLE_PUSH 2': ['connection protocol', set([2, 2])],
  '6.5.2/2 window beyond 2^31-1': ['connection flow', set([4, 0x80000000])],
  '6.5.2/3 frame size too small': ['connection protocol', set([5, 16_383])],
  '6.5.2/4 frame size too large': ['connection protocol', set([5, 0x1000000])],
  '6.5.2/5 unknown setting': ['alive', set([0xff, 1])],
  '6.5.3/1 the last of two values holds': portions([
    Buffer.concat([set([4, 100], [4, 1]), request(1)]),
    1,
  ]),
  '6.5.3/2 SETTINGS are acknowledged': async (client) => {
    const acks = (): number =>
      client.of(type.settings).filter(({ flags }) => flags === flag.ack).length
    const before = acks()
    client.send(set([1, 0]))
    await until(() => acks() > before, 'an ACK')
    return ''
  },
  '6.6 PUSH_PROMISE on stream 0': [
    'connection protocol',
    frame(type.push, 4, 0, Buffer.concat([uint32(2), block(...get)])),
  ],
  '6.7/1 PING': async (client) => {
    await client.isAlive()
    const [pong] = client.of(type.ping)
    return pong?.flags === flag.ack && `${pong.payload}` === 'liveness' ? '' : 'no echo'
  },
  // 6.7: "An endpoint MUST NOT respond to PING frames containing this flag". Node does not, and ends the connection: nobody has
  // a reason to acknowledge what was never sent.
  '6.7/2 PING with ACK': [
    'connection internal',
    frame(type.ping, flag.ack, 0, '12345678'),
  ],
  '6.7/3 PING on a stream': ['connection protocol', frame(type.ping, 0, 1, '12345678')],
  '6.7/4 PING of 6 bytes': ['connection size', frame(type.ping, 0, 0, '123456')],
  '6.8/1 GOAWAY on a stream': [
    'connection protocol',
    frame(type.goaway, 0, 1, Buffer.alloc(8)),
  ],
  '6.9/1 window of 0': ['connection protocol', window(zero)],
  '6.9/2 window of 0 on a stream': ['stream protocol', open(), window(zero, 1)],
  '6.9/3 WINDOW_UPDATE of 3 bytes': ['connection size', window('xxx')],
  '6.9.1/1 a window of 1': portions([Buffer.concat([set([4, 1]), request(1)]), 1]),
  '6.9.1/2 windows overflow': ['connection flow', window(most), window(most)],
  // nghttp2 ends the connection, h2spec expects RST_STREAM; 5.4.1: "an endpoint MAY choose to treat a stream error as a
  // connection error".
  '6.9.1/3 windows overflow on a stream': [
    'stream flow',
    open(),
    window(most, 1),
    window(most, 1),
  ],
  '6.9.2/1 a window that opens later': portions(
    [Buffer.concat([set([4, 0]), request(1)]), 0],
    [set([4, 1]), 1],
  ),
  '6.9.2/2 a window below 0': portions(
    [Buffer.concat([set([4, 3]), request(1)]), 3],
    [set([4, 2]), 3],
    [window(uint32(2), 1), 4],
  ),
  '6.9.2/3 a window beyond 2^31-1': ['connection flow', set([4, 0xffffffff])],
  '6.10/1 CONTINUATIONs': ['answer', begun, more(0), more(0), more()],
  '6.10/2 DATA inside a block': ['connection protocol', begun, more(0), data(1)],
  '6.10/3 CONTINUATION on stream 0': ['connection protocol', begun, more(4, 0)],
  '6.10/4 CONTINUATION behind END_HEADERS': ['connection protocol', open(), more()],
  '6.10/5 CONTINUATION behind the last': ['connection protocol', begun, more(), more()],
  '6.10/6 CONTINUATION behind DATA': ['connection protocol', open(), data(), more()],
}

await playAll(t, cases)
