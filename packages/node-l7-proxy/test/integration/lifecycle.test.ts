// SPDX-License-Identifier: Apache-2.0
// Processes: drain on SIGTERM, a worker killed under load, the operator away, no configuration yet.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, service } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const held: http.ServerResponse[] = []
const backend = await httpBackend((request, response) => {
  if (request.url === '/held') held.push(response)
  else response.end('ok')
})
t.teardown(async () => backend.close())
const resources = [
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', backend.port),
  service(2, 'h2', L7Protocol.HTTP2),
]

t.test(
  'SIGTERM: running requests end, connections are told, new ones refused, exit code 0',
  async (t) => {
    const proxy = await startProxy(resources)
    t.teardown(async () => proxy.stop())
    const session = http2.connect(`http://127.0.0.2:${proxy.port}`)
    await once(session, 'remoteSettings')
    const goaway = once(session, 'goaway')
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    await ask(proxy.port, 1, '/', { agent })
    const running = ask(proxy.port, 1, '/held')
    await until(() => held.length === 1, 'the request')
    const exited = once(proxy.process, 'exit')
    proxy.process.kill('SIGTERM')
    await goaway
    const last = await ask(proxy.port, 1, '/', { agent })
    t.equal(last.headers.connection, 'close')
    await until(
      async () =>
        ask(proxy.port, 1, '/')
          .then(() => false)
          .catch(() => true),
      'new connections to be refused',
    )
    t.equal(proxy.process.exitCode, null, 'waits')
    held.pop()?.end('late')
    t.equal((await running).body, 'late')
    t.strictSame(await exited, [0, null])
    session.destroy()
  },
)

t.test('the drain ends at its timeout', async (t) => {
  const proxy = await startProxy(resources, ['--drain-timeout', '600ms'])
  t.teardown(async () => proxy.stop())
  const running = ask(proxy.port, 1, '/held').catch((error: unknown) => error)
  await until(() => held.length === 1, 'the request')
  const start = performance.now()
  const exited = once(proxy.process, 'exit')
  proxy.process.kill('SIGTERM')
  t.strictSame(await exited, [0, null])
  t.ok(performance.now() - start < 3000)
  t.type(await running, Error)
  held.pop()?.destroy()
})

t.test(
  'a worker killed under load costs its requests in flight, no connect is refused',
  async (t) => {
    const proxy = await startProxy(resources)
    t.teardown(async () => proxy.stop())
    const { workers } = JSON.parse((await proxy.admin('/debug/config')).body) as {
      workers: number[]
    }
    const failures: (string | undefined)[] = []
    let good = 0
    let stop = false
    const concurrency = 4
    const load = Array.from({ length: concurrency }, async () => {
      while (!stop) {
        await ask(proxy.port, 1, '/')
          .then(({ status }) => (status === 200 ? good++ : failures.push(String(status))))
          .catch((error: NodeJS.ErrnoException) => failures.push(error.code))
      }
    })
    await until(() => good > 100, 'load')
    process.kill(workers[0] ?? 0, 'SIGKILL')
    const before = good
    await until(() => good > before + 200, 'requests to go on', 20_000)
    stop = true
    await Promise.all(load)
    t.notOk(failures.includes('ECONNREFUSED'), 'the parent holds the listening socket')
    t.ok(failures.length <= concurrency, `${failures.join(' ')}`)
    t.equal(await proxy.metric('pillion_worker_crashes_total'), 1)
    t.equal((await proxy.admin('/readyz')).status, 200)
  },
)

t.test('the operator goes away: everything serves on, also a new worker', async (t) => {
  const proxy = await startProxy(resources)
  t.teardown(async () => proxy.stop())
  await proxy.operator.stop()
  t.equal((await ask(proxy.port, 1, '/')).status, 200)
  const { workers } = JSON.parse((await proxy.admin('/debug/config')).body) as {
    workers: number[]
  }
  process.kill(workers[0] ?? 0, 'SIGKILL')
  await until(
    async () =>
      ask(proxy.port, 1, '/')
        .then(({ status }) => status === 200)
        .catch(() => false),
    'a new worker',
  )
  t.pass('serves')
})

t.test('the parent killed: its worker goes too, and leaves the port', async (t) => {
  const proxy = await startProxy(resources)
  t.teardown(async () => proxy.stop())
  const { workers } = JSON.parse((await proxy.admin('/debug/config')).body) as {
    workers: number[]
  }
  proxy.process.kill('SIGKILL')
  await until(() => {
    try {
      process.kill(workers[0] ?? 0, 0)
      return false
    } catch {
      return true
    }
  }, 'the worker to go')
  await t.rejects(ask(proxy.port, 1, '/'), { code: 'ECONNREFUSED' })
})

t.test('two workers share the port, and their metrics are one', async (t) => {
  const proxy = await startProxy(resources, ['--workers', '2'])
  t.teardown(async () => proxy.stop())
  await until(async () => (await proxy.metric('pillion_workers')) === 2, 'two workers')
  for (let i = 0; i < 50; i++) await ask(proxy.port, 1, '/')
  t.equal(await proxy.metric('istio_requests_total', 'destination_workload="web"'), 50)
  t.equal(
    await proxy.metric(
      'istio_request_duration_milliseconds_count',
      'destination_workload="web"',
    ),
    50,
  )
})

t.test('without a configuration: listens, is alive, is not ready', async (t) => {
  const { promise, resolve } = Promise.withResolvers<string>()
  startProxy(resources, ['--operator', 'unix:/nonexistent/operator.sock']).then(
    () => {
      resolve('ready')
    },
    (error: unknown) => {
      resolve(String(error))
    },
  )
  t.match(await promise, /waited 10000 ms for: readyz/)
})
