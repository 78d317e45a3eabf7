// SPDX-License-Identifier: Apache-2.0
// RFC 9113 sections 7 and 8, RFC 7541, and what every server must be able to do ("generic"), case by case: the list is that of the
// conformance checker h2spec, as in frames.test.ts.
import t from 'tap'
import {
  both,
  type H2Case,
  type H2Cases,
  open,
  playAll,
  raw,
} from '../support/h2-cases.ts'
import {
  block,
  flag,
  frame,
  get,
  type RawHttp2,
  request,
  settings,
  type,
  uint32,
} from '../support/h2-frames.ts'
import { until } from '../support/wait.ts'

type Field = readonly [name: string, value: string]
const [method, scheme, path, authority] = get
const withField = (name: string, value: string): Buffer =>
  request(1, [...get, [name, value]])
const data = (payload: string, flags = 0): Buffer => frame(type.data, flags, 1, payload)
const trailers = (flags: number, ...fields: readonly Field[]): Buffer =>
  frame(type.headers, flags | flag.endHeaders, 1, block(...fields))
const priority = (stream: number, on: number, weight: number): Buffer =>
  frame(type.priority, 0, stream, Buffer.concat([uint32(on), Buffer.from([weight])]))
const bad = (...fields: readonly Field[]): H2Case => [
  'stream protocol',
  request(1, fields),
]

/** GET http / as indices of the static table, and an authority. */
const start = Buffer.concat([
  Buffer.from([0x82, 0x86, 0x84, 0x41, 3]),
  Buffer.from('a.b'),
])
const text = (value: string): Buffer =>
  Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])
/** Huffman, from RFC 7541 C.4. */
const coded = (hex: string): Buffer =>
  Buffer.concat([Buffer.from([0x80 + hex.length / 2]), Buffer.from(hex, 'hex')])
const [key, value, noCache] = [text('custom-key'), text('custom-value'), text('no-cache')]
const keyCoded = coded('25a849e95ba97d7f')
const valueCoded = coded('25a849e95bb8e8b4bf')
const noCacheCoded = coded('a8eb10649cbf')
/** Of cache-control, 24, in prefixes of 6 and 4 bits. */
const [index6, index4] = [Buffer.from([0x58]), [0x0f, 0x09] as const]

/** The block is understood: the endpoint got the field's value. */
const understood =
  (value: string, ...bytes: readonly (number | Buffer)[]) =>
  async (client: RawHttp2): Promise<string> => {
    client.send(raw(start, ...bytes))
    return answered(client, `fine ${value}`)
  }

/** The body of the answer on stream 1 is `expected`. */
async function answered(client: RawHttp2, expected: string): Promise<string> {
  const parts = (): typeof client.frames => client.of(type.data, 1)
  const ended = (): boolean => parts().some(({ flags }) => flags & flag.endStream)
  await until(() => ended() || client.closed, 'the end of the answer')
  const body = Buffer.concat(parts().map(({ payload }) => payload)).toString()
  return body === expected ? '' : `got "${body}", GOAWAY ${client.goaway}`
}

const echo =
  (expected: string, ...frames: readonly Buffer[]) =>
  async (client: RawHttp2): Promise<string> => {
    client.send(...frames)
    return answered(client, `fine ${expected}`)
  }

const generic: H2Cases = {
  'generic/1/1 preface': ['alive'],
  'generic/2/1 PRIORITY on an idle stream': ['answer', priority(1, 0, 255), request(1)],
  'generic/2/2 WINDOW_UPDATE when half closed': [
    'answer',
    request(1),
    frame(type.windowUpdate, 0, 1, uint32(1)),
  ],
  'generic/2/3 PRIORITY when half closed': ['answer', request(1), priority(1, 0, 255)],
  'generic/2/4 RST_STREAM when half closed': [
    'alive',
    request(1),
    frame(type.rst, 0, 1, uint32(8)),
  ],
  'generic/2/5 PRIORITY when closed': async (client) => {
    client.send(request(1))
    const wrong = await answered(client, 'fine ')
    client.send(priority(1, 0, 255))
    return (await client.isAlive()) ? wrong : 'the connection ended'
  },
  'generic/3.1/1 DATA': echo('test', open(), data('test', 1)),
  'generic/3.1/2 two DATA': echo('testtest', open(), data('test'), data('test', 1)),
  'generic/3.1/3 padded DATA': echo(
    'test',
    open(),
    data('\x06test\0\0\0\0\0\0', flag.padded | flag.endStream),
  ),
  'generic/3.2/1 HEADERS': ['answer', request(1)],
  'generic/3.2/2 padded HEADERS': [
    'answer',
    frame(
      type.headers,
      both | flag.padded,
      1,
      Buffer.concat([Buffer.from([6]), block(...get), Buffer.alloc(6)]),
    ),
  ],
  'generic/3.2/3 HEADERS with priority': [
    'answer',
    frame(
      type.headers,
      both | flag.priority,
      1,
      Buffer.concat([uint32(0), Buffer.from([255]), block(...get)]),
    ),
  ],
  'generic/3.3/1 PRIORITY 1': ['answer', priority(1, 0, 0), request(1)],
  'generic/3.3/2 PRIORITY 256': ['answer', priority(1, 0, 255), request(1)],
  'generic/3.3/3 PRIORITY with a stream': ['answer', priority(3, 1, 255), request(1)],
  'generic/3.3/4 PRIORITY, exclusive': ['answer', priority(3, 0x80000001, 1), request(1)],
  'generic/3.3/5 PRIORITY of a later stream': ['answer', priority(5, 0, 9), request(1)],
  'generic/3.4/1 RST_STREAM': ['alive', open(), frame(type.rst, 0, 1, uint32(8))],
  'generic/3.5/1 SETTINGS': ['alive', frame(type.settings, 0, 0, settings([3, 100]))],
  'generic/3.7/1 PING': ['alive', frame(type.ping, 0, 0, '12345678')],
  'generic/3.8/1 GOAWAY': async (client) => {
    client.send(frame(type.goaway, 0, 0, Buffer.alloc(8)))
    await until(() => client.closed || client.goaway !== undefined, 'the end')
    return ''
  },
  'generic/3.9/1 WINDOW_UPDATE': [
    'answer',
    frame(type.windowUpdate, 0, 0, uint32(1)),
    request(1),
  ],
  'generic/3.9/2 WINDOW_UPDATE of a stream': echo(
    '',
    open(),
    frame(type.windowUpdate, 0, 1, uint32(1)),
    data('', 1),
  ),
  'generic/3.10/1 CONTINUATION': [
    'answer',
    frame(type.headers, flag.endStream, 1, block(method, scheme)),
    frame(type.continuation, flag.endHeaders, 1, block(path, authority)),
  ],
  'generic/3.10/2 CONTINUATIONs': [
    'answer',
    frame(type.headers, flag.endStream, 1, block(method, scheme)),
    frame(type.continuation, 0, 1, block(path)),
    frame(type.continuation, flag.endHeaders, 1, block(authority)),
  ],
  'generic/4/1 GET': ['answer', request(1)],
  'generic/4/2 HEAD': [
    'answer',
    request(1, [[':method', 'HEAD'], scheme, path, authority]),
  ],
  'generic/4/3 POST': echo('test', open(), data('test', 1)),
  'generic/4/4 POST with trailers': echo(
    'test',
    open(['trailer', 'x-test']),
    data('test'),
    trailers(flag.endStream, ['x-test', 'ok']),
  ),
  'generic/5/1 indexed': ['answer', raw(start)],
  'generic/5/2 incremental, indexed name': understood('no-cache', index6, noCache),
  'generic/5/3 the same, Huffman': understood('no-cache', index6, noCacheCoded),
  'generic/5/4 incremental, new name': understood('custom-value', 0x40, key, value),
  'generic/5/5 the same, Huffman': understood('custom-value', 0x40, keyCoded, valueCoded),
  'generic/5/6 without indexing, indexed name': understood(
    'no-cache',
    ...index4,
    noCache,
  ),
  'generic/5/7 the same, Huffman': understood('no-cache', ...index4, noCacheCoded),
  'generic/5/8 without indexing, new name': understood('custom-value', 0, key, value),
  'generic/5/9 the same, Huffman': understood('custom-value', 0, keyCoded, valueCoded),
  'generic/5/10 never, indexed name': understood('no-cache', 0x1f, 0x09, noCache),
  'generic/5/11 the same, Huffman': understood('no-cache', 0x1f, 0x09, noCacheCoded),
  'generic/5/12 never, new name': understood('custom-value', 0x10, key, value),
  'generic/5/13 the same, Huffman': understood(
    'custom-value',
    0x10,
    keyCoded,
    valueCoded,
  ),
  'generic/5/14 table size': ['answer', raw(0x3f, 0x61, start)],
  'generic/5/15 table sizes': ['answer', raw(0x20, 0x3f, 0xe1, 0x1f, start)],
}

const messages: H2Cases = {
  '7/1 GOAWAY with an unknown code': async (client) => {
    client.send(frame(type.goaway, 0, 0, Buffer.concat([uint32(0), uint32(0xff)])))
    await until(() => client.closed || client.goaway !== undefined, 'the end')
    return ''
  },
  '7/2 RST_STREAM with an unknown code': [
    'alive',
    open(),
    frame(type.rst, 0, 1, uint32(0xff)),
  ],
  '8.1/1 trailers without END_STREAM': [
    'stream protocol',
    open(),
    trailers(0, ['x-test', 'ok']),
  ],
  '8.1.2/1 upper case': ['stream protocol', withField('X-TEST', 'ok')],
  '8.1.2.1/1 unknown pseudo field': bad(...get, [':test', 'ok']),
  '8.1.2.1/2 :status': bad(...get, [':status', '200']),
  '8.1.2.1/3 pseudo field in trailers': [
    'stream protocol',
    open(),
    data('test'),
    trailers(flag.endStream, [':method', 'GET']),
  ],
  '8.1.2.1/4 pseudo field behind a field': bad(
    method,
    scheme,
    ['x', 'y'],
    path,
    authority,
  ),
  '8.1.2.2/1 connection': bad(...get, ['connection', 'keep-alive']),
  '8.1.2.2/2 te': bad(...get, ['te', 'trailers, deflate']),
  '8.1.2.3/1 path empty': bad(method, scheme, [':path', ''], authority),
  '8.1.2.3/2 no method': bad(scheme, path, authority),
  '8.1.2.3/3 no scheme': bad(method, path, authority),
  '8.1.2.3/4 no path': bad(method, scheme, authority),
  '8.1.2.3/5 method twice': bad(...get, method),
  '8.1.2.3/6 scheme twice': bad(...get, scheme),
  '8.1.2.3/7 path twice': bad(...get, path),
  // A stream error to h2spec. Node ends the connection, which 5.4.1 allows: "an endpoint MAY choose to treat a stream error as a
  // connection error".
  '8.1.2.6/1 length of one DATA': [
    'connection internal',
    open(['content-length', '1']),
    data('test', 1),
  ],
  '8.1.2.6/2 length of two DATA': [
    'connection internal',
    open(['content-length', '1']),
    data('test'),
    data('test', 1),
  ],
  '8.2/1 PUSH_PROMISE': [
    'connection protocol',
    frame(type.push, flag.endHeaders, 1, Buffer.concat([uint32(2), block(...get)])),
  ],
}

const hpack: H2Cases = {
  'hpack/2.3.3/1 index beyond the tables': ['connection compression', raw(start, 0xc6)],
  'hpack/2.3.3/2 name beyond the tables': [
    'connection compression',
    raw(start, 0x7f, 0x0f, value),
  ],
  'hpack/4.2/1 table size at the end': ['connection compression', raw(start, 0x3f, 0x61)],
  'hpack/5.2/1 Huffman, 8 bits of padding': [
    'connection compression',
    raw(start, 0x00, text('x'), coded('25a849e95bb8e8b4bfff')),
  ],
  'hpack/5.2/2 Huffman, padded with zeros': [
    'connection compression',
    raw(start, 0x00, text('x'), coded('25a849e95ba97d00')),
  ],
  'hpack/5.2/3 Huffman with EOS': [
    'connection compression',
    raw(start, 0x00, text('x'), coded('ffffffff')),
  ],
  'hpack/6.1/1 index 0': ['connection compression', raw(start, 0x80)],
  'hpack/6.3/1 table size beyond SETTINGS': [
    'connection compression',
    raw(0x3f, 0xe2, 0x1f, start),
  ],
}

await playAll(t, { ...generic, ...messages, ...hpack })
