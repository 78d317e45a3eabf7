// SPDX-License-Identifier: Apache-2.0
// Retries (GEP-1731), timeouts (GEP-1742), budget (GEP-3388), weights and least request, through the real processes.
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend, listen } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

/** Tries seen, by the request's own key. */
const tries = new Map<string, number>()
const backend = await httpBackend((request, response) => {
  const url = new URL(request.url ?? '/', 'http://backend')
  const key = url.searchParams.get('key') ?? ''
  const count = (tries.get(key) ?? 0) + 1
  tries.set(key, count)
  const good = count > Number(url.searchParams.get('fail') ?? 0)
  let body = ''
  request
    .setEncoding('utf8')
    .on('data', (text: string) => (body += text.length > 100 ? `<${text.length}>` : text))
  request.on('end', () => {
    if (!good && url.searchParams.has('reset')) {
      request.socket.resetAndDestroy()
      return
    }
    const delayMs = good
      ? Number(url.searchParams.get('delay') ?? 0)
      : Number(url.searchParams.get('failDelay') ?? 0)
    setTimeout(() => {
      response
        .writeHead(good ? 200 : Number(url.searchParams.get('status') ?? 200))
        .end(`${count} ${body}`)
    }, delayMs)
  })
})
const named = async (name: string): Promise<{ port: number; close(): Promise<void> }> =>
  httpBackend((_request, response) => response.end(name))
const [one, two] = [await named('one'), await named('two')]
const closed = await listen(http.createServer())
await closed.close()

const codes = [500, 503, 504]
const proxy = await startProxy([
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', backend.port),
  service(2, 'retrying', L7Protocol.HTTP),
  table(2, 'retrying', {
    hasRoutes: true,
    rules: [
      rule('/slow', { web: 1 }, { requestTimeoutMs: 150 }),
      rule(
        '/backend',
        { web: 1 },
        { backendTimeoutMs: 100, retry: retry(2, { codes: [504] }) },
      ),
      rule(
        '/both',
        { web: 1 },
        {
          requestTimeoutMs: 250,
          backendTimeoutMs: 100,
          retry: retry(9, { codes: [504] }),
        },
      ),
      rule('/pertry', { web: 1 }, { retry: retry(2, { codes, perTryTimeoutMs: 100 }) }),
      rule('/none', { web: 1 }, { retry: retry(0, { codes }) }),
      rule('/', { web: 1 }, { retry: retry(3, { codes }) }),
    ],
    retryBudget: {
      percent: 20,
      intervalMs: 10_000,
      minRetries: 1000,
      minIntervalMs: 1000,
    },
  }),
  service(3, 'tight', L7Protocol.HTTP),
  table(3, 'tight', {
    hasRoutes: true,
    rules: [rule('/', { web: 1 }, { retry: retry(3, { codes }) })],
    retryBudget: { percent: 0, intervalMs: 10_000, minRetries: 2, minIntervalMs: 10_000 },
  }),
  service(4, 'half-dead', L7Protocol.HTTP),
  endpoint(4, 'half-dead', backend.port),
  endpoint(4, 'half-dead', closed.port),
  service(5, 'dead', L7Protocol.HTTP),
  endpoint(5, 'dead', closed.port),
  service(6, 'split', L7Protocol.HTTP),
  table(6, 'split', { hasRoutes: true, rules: [rule('/', { one: 7, two: 3 })] }),
  service(7, 'one', L7Protocol.HTTP),
  endpoint(7, 'one', one.port),
  service(8, 'two', L7Protocol.HTTP),
  endpoint(8, 'two', two.port),
])
t.teardown(async () => {
  await proxy.stop()
  await Promise.all([backend.close(), one.close(), two.close()])
})
let keys = 0
const fresh = (): string => `key=${++keys}`
const count = (key: string): number => tries.get(key.slice(4)) ?? 0

t.test(
  'listed codes are retried, up to attempts, then the original code comes through',
  async (t) => {
    for (const status of codes) {
      const reply = await ask(proxy.port, 2, `/?${fresh()}&fail=3&status=${status}`)
      t.equal(`${reply.status} ${reply.body}`, '200 4 ')
      t.equal(
        (await ask(proxy.port, 2, `/?${fresh()}&fail=4&status=${status}`)).status,
        status,
      )
    }
    const key = fresh()
    t.equal((await ask(proxy.port, 2, `/?${key}&fail=9&status=502`)).status, 502)
    t.equal(count(key), 1, 'not listed')
    const none = fresh()
    t.equal((await ask(proxy.port, 2, `/none?${none}&fail=9&status=503`)).status, 503)
    t.equal(count(none), 1, 'attempts: 0')
  },
)

t.test('bodies are sent again up to the limit, longer ones once', async (t) => {
  const reply = await ask(proxy.port, 2, `/?${fresh()}&fail=1&status=503`, {
    method: 'POST',
    body: 'again',
  })
  t.equal(reply.body, '2 again')
  const key = fresh()
  t.equal(
    (
      await ask(proxy.port, 2, `/?${key}&fail=1&status=503`, {
        method: 'POST',
        body: 'x'.repeat(70_000),
      })
    ).status,
    503,
  )
  t.equal(count(key), 1)
  t.equal(await proxy.metric('pillion_replay_overflow_total'), 1)
})

t.test('a reset after the request was sent: idempotent methods only', async (t) => {
  t.equal((await ask(proxy.port, 2, `/?${fresh()}&fail=2&reset`)).status, 200)
  const key = fresh()
  const reply = await ask(proxy.port, 2, `/?${key}&fail=1&reset`, {
    method: 'POST',
    body: 'x',
  })
  t.equal(reply.status, 503)
  t.match(reply.body, /^UPSTREAM_RESET/)
  t.equal(count(key), 1)
})

t.test(
  'an endpoint without a listener is tried elsewhere, also by default and for POST',
  async (t) => {
    for (let i = 0; i < 20; i++)
      t.equal(
        (await ask(proxy.port, 4, `/?${fresh()}`, { method: 'POST', body: 'x' })).status,
        200,
      )
    const reply = await ask(proxy.port, 5, '/')
    t.equal(reply.status, 503)
    t.match(reply.body, /^CONNECT_FAILED.*ECONNREFUSED/)
    t.ok(await proxy.metric('istio_requests_total', 'response_flags="UF"'))
  },
)

t.test('a kept-alive connection that died while idle costs a GET nothing', async (t) => {
  let opened = 0
  const impatient = net.createServer((socket) => {
    opened++
    socket.once('data', () => {
      // Says keep-alive and resets when the next request comes.
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      socket.once('data', () => socket.resetAndDestroy())
    })
    socket.on('error', () => undefined)
  })
  const target = await listen(impatient)
  t.teardown(async () => target.close())
  await proxy.operator.send([
    service(20, 'impatient', L7Protocol.HTTP),
    endpoint(20, 'impatient', target.port),
  ])
  for (let i = 0; i < 4; i++) t.equal((await ask(proxy.port, 20, '/')).status, 200)
  t.equal(opened, 4)
})

t.test('over budget is 503, whatever the endpoint said', async (t) => {
  const spent = await ask(proxy.port, 3, `/?${fresh()}&fail=9&status=500`)
  t.equal(spent.status, 503)
  t.match(spent.body, /^RETRY_BUDGET/)
  t.ok((await proxy.metric('pillion_retry_budget_exhausted_total')) >= 1)
  t.ok((await proxy.metric('istio_requests_total', 'response_flags="URX"')) >= 1)
})

t.test(
  'timeouts: request bounds all tries, backendRequest one, per-try until the head',
  async (t) => {
    const start = performance.now()
    const slow = await ask(proxy.port, 2, `/slow?${fresh()}&delay=5000`)
    t.equal(slow.status, 504)
    t.match(slow.body, /^REQUEST_TIMEOUT/)
    t.ok(performance.now() - start < 1000)
    t.equal(
      (await ask(proxy.port, 2, `/backend?${fresh()}&fail=2&failDelay=300`)).status,
      200,
    )
    t.equal(
      (await ask(proxy.port, 2, `/backend?${fresh()}&fail=3&failDelay=300`)).status,
      504,
    )
    t.equal(
      (await ask(proxy.port, 2, `/pertry?${fresh()}&fail=2&failDelay=300`)).status,
      200,
    )
    t.match(
      (await ask(proxy.port, 2, `/both?${fresh()}&fail=9&failDelay=300`)).body,
      /^REQUEST_TIMEOUT/,
    )
  },
)

t.test('weights 7 to 3, within five points of a hundred', async (t) => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
  t.teardown(() => {
    agent.destroy()
  })
  const bodies = await Promise.all(
    Array.from(
      { length: 1000 },
      async () => (await ask(proxy.port, 6, '/', { agent })).body,
    ),
  )
  const share = bodies.filter((body) => body === 'one').length / bodies.length
  t.ok(Math.abs(share - 0.7) < 0.05, `${share}`)
})

t.test('least request: an endpoint that holds its requests gets few more', async (t) => {
  const held: http.ServerResponse[] = []
  const stuck = await httpBackend((_request, response) => {
    held.push(response)
  })
  t.teardown(async () => stuck.close())
  await proxy.operator.send([
    service(21, 'mixed', L7Protocol.HTTP),
    endpoint(21, 'mixed', stuck.port),
    endpoint(21, 'mixed', one.port),
  ])
  let answered = 0
  const all = Array.from({ length: 40 }, async () =>
    ask(proxy.port, 21, '/')
      .then(() => answered++)
      .catch(() => undefined),
  )
  await until(() => answered + held.length === 40, 'all placed')
  for (let i = 0; i < 100; i++) {
    const reply = await ask(proxy.port, 21, '/')
    t.equal(reply.body, 'one')
  }
  for (const response of held) response.end()
  await Promise.all(all)
})

t.test('a client that goes away ends the try', async (t) => {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const waiting = http.createServer((_request, response) => {
    response.on('close', () => {
      resolve(undefined)
    })
  })
  const target = await listen(waiting)
  t.teardown(async () => target.close())
  await proxy.operator.send([
    service(22, 'waiting', L7Protocol.HTTP),
    endpoint(22, 'waiting', target.port),
  ])
  const socket = net.connect(proxy.port, '127.0.0.22')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  await once(waiting, 'request')
  socket.destroy()
  await promise
  await until(
    async () => (await proxy.metric('istio_requests_total', 'response_flags="DC"')) === 1,
    'the DC flag',
  )
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'no request left',
  )
})
