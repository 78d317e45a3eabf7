// SPDX-License-Identifier: Apache-2.0
// HTTP/2 requests that must not be, and their translation to HTTP/1.1 before a backend that reads strictly (downgrade
// smuggling). "rst": stream error of any code, "goaway": connection error; either may stand for the other (RFC 9113 5.4).
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { block, flag, frame, get, RawHttp2, request, type } from '../support/h2-frames.ts'
import { startProxy } from '../support/proxy.ts'
import { startRecorder } from '../support/recorder.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const backend = await startRecorder()
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

type Field = readonly [name: string, value: string]
type Case = readonly [expected: string, ...fields: Field[]]

const [method, scheme, path, authority] = get
const plain: readonly Field[] = get
const withField = (name: string, value: string): Case => ['bad', ...get, [name, value]]
/** nghttp2 leaves such a field out and goes on; what matters is that nobody behind us sees it. */
const dropped = (name: string, value: string): Case => ['dropped', ...get, [name, value]]
const withPath = (value: string): Case => [
  'bad',
  method,
  scheme,
  [':path', value],
  authority,
]
const withHost = (value: string): Case => [
  'bad',
  method,
  scheme,
  path,
  [':authority', value],
]
const withMethod = (value: string): Case => [
  'bad',
  [':method', value],
  scheme,
  path,
  authority,
]

const cases: Readonly<Record<string, Case>> = {
  valid: ['200', ...plain],
  'te: trailers': ['200', ...get, ['te', 'trailers']],
  'cookies in crumbs': ['200', ...get, ['cookie', 'a=1'], ['cookie', 'b=2']],
  'host beside the same authority': ['200', ...get, ['host', 'a.b']],
  'host alone': ['200', method, scheme, path, ['host', 'a.b']],
  'no authority': ['bad', method, scheme, path],
  'obs-text': ['200', ...get, ['x', '\xe9']],
  'a field twice': ['200', ...get, ['user-agent', 'a'], ['user-agent', 'b']],
  'length zero': ['200', ...get, ['content-length', '0']],
  'OPTIONS *': ['404', [':method', 'OPTIONS'], scheme, [':path', '*'], authority],
  fragment: withPath('/a#b'),
  'path empty': withPath(''),
  'path with space': withPath('/a b'),
  'path with a whole request': withPath('/ HTTP/1.1\r\nhost: x\r\n\r\nGET /smuggled'),
  'path with LF': withPath('/\nx'),
  'path with CR': withPath('/\rx'),
  'path with NUL': withPath('/\0'),
  'path with tab': withPath('/\t'),
  'path with DEL': withPath('/\x7f'),
  'path with UTF-8': withPath('/\xc3\xa9'),
  'path relative': withPath('a'),
  'path absolute form': withPath('http://a.b/'),
  'path star with GET': withPath('*'),
  'authority with user': withHost('u@a.b'),
  'authority with path': withHost('a.b/x'),
  'authority with space': withHost('a b'),
  'authority with CRLF': withHost('a\r\nx: y'),
  'authority with NUL': withHost('a\0'),
  'authority with list': withHost('a,b'),
  'authority with bad port': withHost('a:x'),
  'authority with large port': withHost('a:70000'),
  'authority empty': withHost(''),
  'authority with backslash': withHost('a\\b'),
  'authority with fragment': withHost('a#b'),
  'authority with bracket': withHost('[x]'),
  'host differs from authority': withField('host', 'c.d'),
  'host twice': ['bad', method, scheme, path, ['host', 'a.b'], ['host', 'c.d']],
  'host with user': ['bad', method, scheme, path, ['host', 'u@a.b']],
  'method with space': withMethod('GET /x'),
  'method with CRLF': withMethod('GET / HTTP/1.1\r\nx: '),
  'method empty': withMethod(''),
  'method with NUL': withMethod('GE\0T'),
  'method lower-case': ['501', [':method', 'get'], scheme, path, authority],
  'method unknown': ['501', [':method', 'FOO'], scheme, path, authority],
  CONNECT: ['501', [':method', 'CONNECT'], [':authority', 'a.b:80']],
  'CONNECT with path': ['bad', [':method', 'CONNECT'], scheme, path, authority],
  'CONNECT extended': [
    'bad',
    [':method', 'CONNECT'],
    [':protocol', 'websocket'],
    scheme,
    path,
    authority,
  ],
  'no method': ['bad', scheme, path, authority],
  'no scheme': ['bad', method, path, authority],
  'no path': ['bad', method, scheme, authority],
  nothing: ['bad'],
  'method twice': ['bad', method, ...get],
  'path twice': ['bad', ...get, path],
  'scheme twice': ['bad', scheme, ...get],
  'authority twice': ['bad', authority, ...get],
  'unknown pseudo field': ['bad', [':x', 'y'], ...get],
  ':status': ['bad', [':status', '200'], ...get],
  'pseudo field after others': ['bad', method, scheme, path, ['x', 'y'], authority],
  'upper-case name': withField('X', 'y'),
  'name empty': dropped('', 'y'),
  'name with space': dropped('a b', 'y'),
  'name with colon': dropped('a:b', 'y'),
  'name with CRLF': dropped('a\r\nb', 'y'),
  'name with NUL': dropped('a\0', 'y'),
  'name high': dropped('\xe9', 'y'),
  'name that ends in a colon': dropped('transfer-encoding:', 'chunked'),
  'name with space before its end': dropped('transfer-encoding ', 'chunked'),
  'value with CRLF': dropped('x', 'a\r\ny: z'),
  'value with LF': dropped('x', 'a\ny'),
  'value with CR': dropped('x', 'a\ry'),
  'value with NUL': dropped('x', 'a\0y'),
  'value that smuggles': dropped(
    'x',
    'a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n',
  ),
  'value with ESC': dropped('x', '\x1b'),
  'value with DEL': dropped('x', '\x7f'),
  'transfer-encoding': withField('transfer-encoding', 'chunked'),
  'transfer-encoding identity': withField('transfer-encoding', 'identity'),
  connection: withField('connection', 'close'),
  'keep-alive': withField('keep-alive', 'x'),
  'proxy-connection': withField('proxy-connection', 'x'),
  upgrade: withField('upgrade', 'h2c'),
  'te: gzip': withField('te', 'gzip'),
  'length text': withField('content-length', 'x'),
  'length negative': withField('content-length', '-1'),
  'length plus': withField('content-length', '+0'),
  'length twice': ['bad', ...get, ['content-length', '0'], ['content-length', '0']],
  'length list': withField('content-length', '0, 0'),
  'length beyond the end': withField('content-length', '5'),
  'path too long': [
    '414',
    method,
    scheme,
    [':path', `/${'a'.repeat(16_400)}`],
    authority,
  ],
}

/** What a request without fields of its own has at the backend. */
let namesOfPlain: string[] | undefined

for (const [name, [expected, ...fields]] of Object.entries(cases)) {
  t.test(name, async (t) => {
    backend.reset()
    const client = new RawHttp2(proxy.port, 2)
    client.send(split(1, block(...fields)))
    const outcome = await client.outcome(1)
    if (expected === 'bad') t.match(outcome, /^(rst|goaway|400|closed)/)
    else t.equal(outcome, expected === 'dropped' ? '200' : expected)
    client.destroy()
    await idle()
    t.strictSame(backend.violations, [])
    const served = expected === '200' || expected === 'dropped'
    t.equal(backend.requests.length, served ? 1 : 0, 'requests at the backend')
    const names = backend.requests[0]?.headers.map(([each]) => each)
    if (name === 'valid') namesOfPlain = names
    if (expected === 'dropped') t.strictSame(names, namesOfPlain)
  })
}

const post: readonly Field[] = [[':method', 'POST'], scheme, path, authority]
const bodies: Readonly<Record<string, readonly [string, Field[], Buffer[]]>> = {
  'length too short': [
    'bad',
    [['content-length', '2']],
    [frame(type.data, flag.endStream, 1, 'hello')],
  ],
  'length too long': [
    'bad',
    [['content-length', '9']],
    [frame(type.data, flag.endStream, 1, 'hello')],
  ],
  exact: [
    '200',
    [['content-length', '5']],
    [frame(type.data, flag.endStream, 1, 'hello')],
  ],
  'no length': ['200', [], [frame(type.data, flag.endStream, 1, 'hello')]],
  'chunk syntax as data': [
    '200',
    [],
    [frame(type.data, flag.endStream, 1, '0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n')],
  ],
  'trailers that say too much': [
    '200',
    [],
    [
      frame(type.data, 0, 1, 'hello'),
      frame(
        type.headers,
        flag.endStream | flag.endHeaders,
        1,
        block(
          ['host', 'x'],
          ['authorization', 'x'],
          ['x-pillion-a', 'b'],
          ['x-sum', '1'],
        ),
      ),
    ],
  ],
  'trailers with a pseudo field': [
    'bad',
    [],
    [
      frame(type.data, 0, 1, 'x'),
      frame(type.headers, flag.endStream | flag.endHeaders, 1, block([':path', '/x'])),
    ],
  ],
  'trailers with transfer-encoding': [
    'bad',
    [],
    [
      frame(type.data, 0, 1, 'x'),
      frame(
        type.headers,
        flag.endStream | flag.endHeaders,
        1,
        block(['transfer-encoding', 'chunked']),
      ),
    ],
  ],
  'trailers with CRLF': [
    '200',
    [],
    [
      frame(type.data, 0, 1, 'x'),
      frame(type.headers, flag.endStream | flag.endHeaders, 1, block(['x', 'a\r\nb'])),
    ],
  ],
}

t.test('bodies and trailers', async (t) => {
  for (const [name, [expected, more, frames]] of Object.entries(bodies)) {
    await t.test(name, async (t) => {
      backend.reset()
      const client = new RawHttp2(proxy.port, 2)
      client.send(
        frame(type.headers, flag.endHeaders, 1, block(...post, ...more)),
        ...frames,
      )
      const outcome = await client.outcome(1)
      if (expected === 'bad') t.match(outcome, /^(rst|goaway|400|closed)/)
      else t.equal(outcome, expected)
      client.destroy()
      await idle()
      t.strictSame(backend.violations, [])
      t.equal(backend.requests.length, expected === '200' ? 1 : 0)
    })
  }
})

t.test('many requests on one connection: as many as were asked for', async (t) => {
  backend.reset()
  const client = new RawHttp2(proxy.port, 2)
  for (let i = 0; i < 50; i++) client.send(request(2 * i + 1))
  await until(() => client.of(type.headers).length === 50, '50 answers')
  t.equal(backend.requests.length, 50)
  t.strictSame(backend.violations, [])
  client.destroy()
})

t.test('a client that never acknowledges SETTINGS is held to them', async (t) => {
  const large = (count: number): readonly Field[] =>
    Array.from({ length: count }, (_, i) => [`x-${i}`, 'y'.repeat(8000)] as const)
  /** One field of 4 KiB into the dynamic table, and 200 references to it. */
  const bomb = Buffer.concat([
    block(...get),
    Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]),
    Buffer.alloc(4000, 'y'),
    Buffer.alloc(200, 0xbe),
  ])
  for (const [name, bytes, expected] of [
    ['within the limit', block(...get, ...large(7)), '200'],
    ['beyond it', block(...get, ...large(9)), '431'],
    ['beyond it by references', bomb, '431'],
  ] as const) {
    backend.reset()
    const client = new RawHttp2(proxy.port, 2, true, false)
    client.send(split(1, bytes))
    t.equal(await client.outcome(1), expected, name)
    client.destroy()
    t.equal(backend.requests.length, expected === '200' ? 1 : 0, name)
  }
})

t.test('nothing crashed', async (t) => {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
})

async function idle(): Promise<void> {
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'no request',
  )
}

/** A complete request whose block may need CONTINUATION. */
function split(stream: number, bytes: Buffer): Buffer {
  const size = 16_000
  const parts = Math.max(1, Math.ceil(bytes.length / size))
  return Buffer.concat(
    Array.from({ length: parts }, (_, i) => {
      const flags =
        (i === parts - 1 ? flag.endHeaders : 0) | (i === 0 ? flag.endStream : 0)
      const part = bytes.subarray(i * size, (i + 1) * size)
      return frame(i === 0 ? type.headers : type.continuation, flags, stream, part)
    }),
  )
}
