// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// HTTP/1.1 endpoints that never end, answer early, late or twice: through undici, through node:http (a body of unknown length),
// and for an HTTP/2 client. Floods of heads are cut off, memory stays bounded, and other endpoints serve on.
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { judge } from '../support/rude-cases.ts'
import { rudeHttp1, type Rudeness } from '../support/rude-frames.ts'

const many = (text: string): string => text.repeat(5000)
const status = 'HTTP/1.1 200 OK\r\n'
const fineAnswer = `${status}content-length: 2\r\n\r\nok`
const chunked = `${status}transfer-encoding: chunked\r\n\r\n`

/** Expected: statuses that the client may get, or "cut": the answer had begun, and its end is seen to be missing. */
type Case = readonly [expected: string, rude: Rudeness]
const cases: Readonly<Record<string, Case>> = {
  'head-endless': [
    '502',
    { answer: () => status, flood: (_, i) => `x-${i}: ${'y'.repeat(1000)}\r\n` },
  ],
  'head-endless-field': [
    '502',
    { answer: () => `${status}x: `, flood: () => many('y'.repeat(20)) },
  ],
  'status-line-endless': [
    '502',
    { answer: () => 'HTTP/1.1 200 ', flood: () => many('y'.repeat(20)) },
  ],
  'head-of-empty-lines': ['502', { flood: () => many('\r\n\r\n') }],
  'head-byte-by-byte': ['504', { answer: () => status, flood: () => 'x', paceMs: 20 }],
  'interim-endless': [
    '502',
    { flood: () => many('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n') },
  ],
  'interim-continue-endless': [
    '502 503',
    { flood: () => many('HTTP/1.1 100 Continue\r\n\r\n') },
  ],
  'trailers-endless': [
    'cut',
    {
      answer: () => `${chunked}0\r\n`,
      flood: (_, i) => `x-${i}: ${'y'.repeat(1000)}\r\n`,
    },
  ],
  'chunk-size-endless': [
    'cut',
    { answer: () => chunked, flood: () => many('0'.repeat(20)) },
  ],
  'chunk-extension-endless': [
    'cut',
    { answer: () => `${chunked}2;x=`, flood: () => many('y'.repeat(20)) },
  ],
  'chunks-empty-lines': ['cut', { answer: () => chunked, flood: () => many('\r\n') }],
  'garbage-behind-the-answer': [
    '200 cut',
    { answer: () => fineAnswer, flood: () => many('garbage ') },
  ],
  'answers-endless': ['200', { answer: () => fineAnswer, flood: () => many(fineAnswer) }],
  'answer-twice': ['200', { answer: () => fineAnswer + fineAnswer }],
  'answer-before-the-request': ['200 502 503', { greeting: fineAnswer }],
  'answer-early-and-reads-nothing': ['200', { answer: () => fineAnswer, reads: false }],
  'answer-early-and-ends': ['200', { answer: () => fineAnswer, ends: true }],
  'reads-nothing': ['504', { reads: false }],
  silent: ['504', {}],
  'ends-at-once': ['503', { ends: true }],
  'ends-in-the-head': ['502 503', { answer: () => `${status}x: y`, ends: true }],
  'body-too-short': [
    'cut',
    { answer: () => `${status}content-length: 9\r\n\r\nok`, ends: true },
  ],
  'body-never': ['cut', { answer: () => `${status}content-length: 9\r\n\r\n` }],
  'http2-instead': ['502', { answer: () => '\0\0\0\x04\0\0\0\0\0' }],
}

/** What the front service lets through without a bound of its own: nothing but bodies. */
const cutFloods = new Set(
  Object.entries(cases)
    .filter(([, [, { flood }]]) => flood !== undefined)
    .map(([name]) => name),
)

const ways = ['POST', 'CHUNKED', 'HTTP/2'] as const
const names = Object.keys(cases)
const fine = await httpBackend((_request, response) => response.end('fine'))

for (const way of ways) {
  t.test(way, async (t) => {
    const rude = await Promise.all(
      Object.values(cases).map(([, each]) => rudeHttp1(each)),
    )
    const rules = [
      ...names.map((name) => rule(`/${name}`, { [name]: 1 }, { requestTimeoutMs: 2000 })),
      rule('/fine', { fine: 1 }),
    ]
    const proxy = await startProxy([
      service(1, 'front', L7Protocol.HTTP),
      table(1, 'front', { hasRoutes: true, rules }),
      service(2, 'fine', L7Protocol.HTTP),
      endpoint(2, 'fine', fine.port),
      service(3, 'front-h2', L7Protocol.HTTP2),
      table(3, 'front-h2', { hasRoutes: true, rules }),
      ...names.flatMap((name, i) => [
        service(10 + i, name, L7Protocol.HTTP),
        endpoint(10 + i, name, rude[i]?.port ?? 0),
      ]),
    ])
    t.teardown(async () => {
      await proxy.stop()
      await Promise.all(rude.map((each) => each.close()))
    })
    for (const [i, [name, [expected]]] of Object.entries(cases).entries()) {
      const peer = rude[i]
      if (peer === undefined) continue
      await t.test(name, async (t) => {
        await judge(t, proxy, { name, expected, way, peer, floods: cutFloods.has(name) })
      })
    }
    t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
    t.equal(await proxy.metric('pillion_active_requests'), 0)
    t.ok((await proxy.metric('pillion_upstream_protocol_errors_total')) > 0)
  })
}
t.teardown(async () => fine.close())
