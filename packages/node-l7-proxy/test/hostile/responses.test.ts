// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Endpoints that lie, three ways each: through undici, through node:http (the request is chunked), and to an HTTP/2 client.
// The client gets a clear answer or sees the cut, and the next one on the same pool gets its own answer.
import http2 from 'node:http2'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, listen } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { converse, statuses } from '../support/raw-client.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { readCases } from '../support/wire-cases.ts'

const cases = readCases(new URL('data/http1-responses.txt', import.meta.url))
const byName = new Map(cases.map((each) => [each.name, each]))

const backend = await listen(
  net.createServer((socket) => {
    socket.on('error', () => undefined)
    let head = ''
    socket.on('data', (chunk: Buffer) => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      const name = /^[A-Z]+ \/([^ ]*)/.exec(head)?.[1] ?? ''
      head = ''
      const found = byName.get(name)
      if (found === undefined)
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine')
      else if (found.expected.startsWith('open ')) socket.write(found.bytes)
      else socket.end(found.bytes)
    })
  }),
)
const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port),
    service(2, 'h2', L7Protocol.HTTP2),
    table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
  ],
  ['--max-pool', '1'],
)
const session = http2.connect(`http://127.0.0.2:${proxy.port}`, {
  maxHeaderListPairs: 1000,
})
t.teardown(async () => {
  session.destroy()
  await proxy.stop()
  await backend.close()
})

type Seen = { readonly outcome: string; readonly body: string }

async function overHttp1(head: string): Promise<Seen> {
  const { answers } = await converse(proxy.port, 1, Buffer.from(head), 1)
  const final = answers.at(-1)
  if (final === undefined) return { outcome: 'cut', body: '' }
  return { outcome: statuses(answers), body: final.body }
}

async function overHttp2(path: string): Promise<Seen> {
  const { promise, resolve } = Promise.withResolvers<Seen>()
  const stream = session.request({ ':path': path, ':authority': 'a.b' })
  let status = 0
  let body = ''
  stream.on('response', (headers) => (status = Number(headers[':status'])))
  stream.setEncoding('latin1').on('data', (text: string) => (body += text))
  stream.on('error', () => undefined)
  stream.on('close', () => {
    const outcome = stream.rstCode === 0 && status > 0 ? String(status) : 'cut'
    resolve({ outcome, body })
  })
  return promise
}

const ways: Readonly<Record<string, (name: string) => Promise<Seen>>> = {
  undici: async (name) => overHttp1(`GET /${name} HTTP/1.1\r\nhost: a.b\r\n\r\n`),
  'node:http': async (name) =>
    overHttp1(
      `POST /${name} HTTP/1.1\r\nhost: a.b\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ),
  'HTTP/2': async (name) => overHttp2(`/${name}`),
}

for (const { name, expected, body } of cases) {
  t.test(name, async (t) => {
    for (const [way, go] of Object.entries(ways)) {
      const seen = await go(name)
      const allowed = expected.replace('open ', '').split('/')
      t.ok(allowed.includes(seen.outcome), `${way}: ${seen.outcome}`)
      if (body !== '' && seen.outcome === allowed[0]) t.equal(seen.body, body, way)
      const next = await ask(proxy.port, 1, '/fine')
      t.strictSame([next.status, next.body], [200, 'fine'], `the next after ${way}`)
    }
  })
}

t.test(
  'waiting for the connection that lies: the second answer is for nobody',
  async (t) => {
    for (const name of ['two-answers', 'three-answers', '204-with-body']) {
      const waiting = ['/fine', `/${name}`, '/fine', '/fine', `/${name}`, '/fine']
      const replies = await Promise.all(
        waiting.map(async (path) => ask(proxy.port, 1, path)),
      )
      for (const [i, reply] of replies.entries())
        t.notMatch(reply.body, /poison/, `${name} ${i}: ${reply.status}`)
    }
  },
)

t.test('nothing crashed', async (t) => {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
})
