// SPDX-License-Identifier: Apache-2.0
// timeout: 300
// Clients and backends that take their time, and large amounts: memory stays below a stated bound, everything ends, and
// another service answers meanwhile. PILLION_BOUNDS_SCALE=20 is 10 000 slow clients, 80 000 streams
// and a body of 1 GiB.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import {
  flag,
  frame,
  get,
  block,
  RawHttp2,
  request,
  type,
  uint32,
} from '../support/h2-frames.ts'
import { httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const scale = Number(process.env['PILLION_BOUNDS_SCALE'] ?? 1)
const mib = 1_048_576

const backend = await httpBackend((request, response) => {
  if (request.url === '/fine') response.end('fine')
  else if (request.url === '/endless') endless(response)
  else if (request.url === '/count') {
    let bytes = 0
    request.on('data', (chunk: Buffer) => (bytes += chunk.length))
    request.on('end', () => response.end(String(bytes)))
  } // '/never' is never answered
})
const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port),
    service(2, 'h2', L7Protocol.HTTP2),
    table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
    service(3, 'other', L7Protocol.HTTP),
    endpoint(3, 'other', backend.port),
  ],
  ['--header-timeout', '3s', '--max-identity-requests', '500'],
)
t.teardown(async () => {
  await proxy.stop()
  await backend.close()
})

/** Runs `load` and watches: memory of the workers, and what an identity and service of its own get meanwhile. */
async function watch(
  t: { ok(value: unknown, what: string): unknown; comment(text: string): void },
  growthMib: number,
  load: () => Promise<void>,
): Promise<void> {
  const before = await proxy.metric('pillion_memory_bytes')
  let peak = before
  let over = false
  const prober = fork(new URL('../support/prober.ts', import.meta.url), [
    String(proxy.port),
  ])
  const end = load().finally(() => (over = true))
  do {
    peak = Math.max(peak, await proxy.metric('pillion_memory_bytes'))
    await new Promise((resolve) => setTimeout(resolve, 50))
  } while (!over)
  const report = once(prober, 'message')
  prober.send('stop')
  const [{ slowest, failed }] = (await report) as [{ slowest: number; failed: string }]
  await end
  t.ok(failed === '', `another service answers ${failed}`)
  const grown = Math.round((peak - before) / mib)
  t.comment(
    `memory grew by ${grown} MiB; the other service's slowest answer ${slowest} ms`,
  )
  t.ok(grown < growthMib, `memory grew by ${grown} MiB, less than ${growthMib}`)
}

/** `count` raw connections that have sent `bytes`. */
async function crowd(count: number, bytes: string): Promise<net.Socket[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = net.connect({
        port: proxy.port,
        host: '127.0.0.1',
        localAddress: '127.0.1.1',
      })
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      socket.write(bytes)
      return socket
    }),
  )
}

const closed = async (sockets: readonly net.Socket[]): Promise<void> => {
  for (const socket of sockets) socket.destroy()
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'no request left',
  )
}

t.test('slow headers: all are told 408', async (t) => {
  await watch(t, 64 * scale, async () => {
    const sockets = await crowd(500 * scale, 'GET / HTTP/1.1\r\nhost:')
    const drip = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write('x')
    }, 500)
    const answers = await Promise.all(
      sockets.map(async (socket) => String((await once(socket, 'data'))[0])),
    )
    clearInterval(drip)
    t.equal(
      answers.filter((text) => text.startsWith('HTTP/1.1 408 ')).length,
      sockets.length,
    )
    await closed(sockets)
  })
})

t.test('slow bodies: as many as an identity may have, the rest 503', async (t) => {
  await watch(t, 96 * scale, async () => {
    const count = Math.min(600 * scale, 9000)
    const head = 'POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx'
    const sockets = await crowd(count, head)
    await until(
      async () =>
        (await proxy.metric('pillion_identity_request_limit_total')) >= count - 500,
      'refusals',
    )
    t.ok((await proxy.metric('pillion_active_requests')) <= 500)
    await closed(sockets)
  })
})

t.test('clients that never read', async (t) => {
  await watch(t, 160 * scale, async () => {
    const sockets = await crowd(50 * scale, 'GET /endless HTTP/1.1\r\nhost: a\r\n\r\n')
    for (const socket of sockets) socket.pause()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await closed(sockets)
  })
})

t.test('a backend that never answers', async (t) => {
  await watch(t, 96 * scale, async () => {
    const sockets = await crowd(400, 'GET /never HTTP/1.1\r\nhost: a\r\n\r\n')
    await until(
      async () => (await proxy.metric('pillion_active_requests')) >= 400,
      'all wait',
    )
    await closed(sockets)
  })
})

t.test('a large body is streamed', async (t) => {
  const size = (scale > 1 ? 1024 : 256) * mib
  await watch(t, 96, async () => {
    const upload = http.request({
      ...{
        host: '127.0.0.1',
        port: proxy.port,
        path: '/count',
        method: 'POST',
        agent: false,
      },
      headers: { 'content-length': size },
    })
    const chunk = Buffer.alloc(mib)
    const reply = once(upload, 'response')
    for (let sent = 0; sent < size; sent += mib)
      if (!upload.write(chunk)) await once(upload, 'drain')
    upload.end()
    const [response] = (await reply) as [http.IncomingMessage]
    let text = ''
    for await (const part of response) text += String(part)
    t.equal(text, String(size))
  })
})

t.test('streams opened and reset, below every limit on resets', async (t) => {
  await watch(t, 96, async () => {
    for (let connection = 0; connection < 8 * scale; connection++) {
      const client = new RawHttp2(proxy.port, 2)
      for (let i = 0; i < 500 && !client.closed; i++) {
        const id = 2 * i + 1
        client.send(request(id), frame(type.rst, 0, id, uint32(8)))
        if (i % 50 === 49) await client.isAlive()
      }
      client.destroy()
    }
    await closed([])
  })
})

t.test('a window of nothing, on every stream', async (t) => {
  await watch(t, 96, async () => {
    const clients = Array.from({ length: 5 }, () => {
      const none = Buffer.from([0, 4, 0, 0, 0, 0])
      const client = new RawHttp2(proxy.port, 2, none)
      const fields = [...get.slice(0, 2), [':path', '/endless'], get[3]] as const
      for (let i = 0; i < 40; i++)
        client.send(
          frame(
            type.headers,
            flag.endStream | flag.endHeaders,
            2 * i + 1,
            block(...fields),
          ),
        )
      return client
    })
    await until(
      () => clients.every((client) => client.of(type.headers).length === 40),
      'heads',
    )
    for (const client of clients) client.destroy()
    await closed([])
  })
})

t.test('nothing crashed', async (t) => {
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
})

function endless(response: http.ServerResponse): void {
  const chunk = Buffer.alloc(65_536)
  const more = (): void => {
    while (!response.destroyed && response.write(chunk));
  }
  response.on('drain', more)
  more()
}
