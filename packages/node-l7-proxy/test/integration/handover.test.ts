// SPDX-License-Identifier: Apache-2.0
// One proxy after the other on the same sockets: under load nothing fails, and what cannot succeed changes nothing.
// timeout: 90
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { ask, httpBackend, listen } from '../support/http.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import { endpoint, service } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const held: http.ServerResponse[] = []
const backend = await httpBackend((request, response) => {
  if (request.url === '/held') held.push(response)
  else response.end('ok')
})
t.teardown(async () => backend.close())
const backend2 = await listen(http2.createServer((_, response) => response.end('ok')))
t.teardown(async () => backend2.close())
const resources = [
  service(1, 'web', L7Protocol.HTTP),
  endpoint(1, 'web', backend.port),
  service(2, 'h2', L7Protocol.HTTP2),
  endpoint(2, 'h2', backend2.port),
]

type Successor = { process: ChildProcess; log: string[]; stop(): Promise<void> }

function succeed(
  proxy: TestProxy,
  change = (argv: readonly string[]): readonly string[] => argv,
): Successor {
  const child = spawn(process.execPath, change(proxy.argv), {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log: string[] = []
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => log.push(text))
  return {
    process: child,
    log,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

function children(pid = 0): string[] {
  const tasks = `/proc/${pid}/task/${pid}/children`
  return readFileSync(tasks, 'utf8').split(' ').filter(Boolean)
}

async function workersOf(proxy: TestProxy): Promise<number[]> {
  const { body } = await proxy.admin('/debug/config')
  return (JSON.parse(body) as { workers: number[] }).workers
}

t.test('a successor under load: nothing fails, and the old one goes', async (t) => {
  const proxy = await startProxy(resources)
  t.teardown(async () => proxy.stop())
  const failures: string[] = []
  let [good, stop] = [0, false]
  const failed = (error: unknown): void => {
    failures.push(String(error))
  }
  const answered = ({ status }: { status: number }): void => {
    if (status === 200) good++
    else failures.push(String(status))
  }
  const agent = new http.Agent({ keepAlive: true, maxSockets: 2 })
  const load = [undefined, undefined, agent, agent].map(async (each) => {
    while (!stop)
      await ask(proxy.port, 1, '/', each ? { agent: each } : {}).then(answered, failed)
  })
  load.push(loadHttp2(proxy.port, () => stop, answered, failed))
  await until(() => good > 200, 'load')

  const running = ask(proxy.port, 1, '/held')
  await until(() => held.length === 1, 'the request')
  const [first] = await workersOf(proxy)
  const exited = once(proxy.process, 'exit')
  const successor = succeed(proxy)
  t.teardown(async () => successor.stop())
  await until(
    async () =>
      workersOf(proxy)
        .then(([worker]) => worker !== first)
        .catch(() => false),
    'the successor to answer for the proxy',
  )
  const before = good
  await until(() => good > before + 200, 'the load to go on')
  t.equal(proxy.process.exitCode, null, 'the old one waits for its request')
  held.pop()?.end('late')
  t.equal((await running).body, 'late')
  t.strictSame(await exited, [0, null])
  t.equal((await proxy.admin('/readyz')).status, 200, 'its end took no socket away')
  stop = true
  await Promise.all(load)
  t.strictSame(failures, [])

  const third = succeed(proxy)
  t.teardown(async () => third.stop())
  t.strictSame(await once(successor.process, 'exit'), [0, null], 'and so on')
})

/** One stream after the other; a session that goes away is followed by another one, as any client does it. */
async function loadHttp2(
  port: number,
  isOver: () => boolean,
  answered: (response: { status: number }) => void,
  failed: (error: unknown) => void,
): Promise<void> {
  let session = http2.connect(`http://127.0.0.2:${port}`)
  while (!isOver()) {
    if (session.closed || session.destroyed) {
      session = http2.connect(`http://127.0.0.2:${port}`)
      session.on('error', failed)
    }
    await askHttp2(session).then(answered, failed)
  }
  session.close()
}

async function askHttp2(session: http2.ClientHttp2Session): Promise<{ status: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number }>()
  const stream = session.request({ ':path': '/' })
  let status = 0
  stream.on('response', (headers) => (status = headers[':status'] ?? 0)).resume()
  stream.on('error', reject).on('close', () => {
    resolve({ status })
  })
  return promise
}

t.test('a successor that never serves changes nothing', async (t) => {
  const proxy = await startProxy(resources)
  t.teardown(async () => proxy.stop())
  const [worker] = await workersOf(proxy)
  const successor = succeed(proxy, (argv) =>
    argv
      .map((arg) => (arg.startsWith('unix:') ? 'unix:/nonexistent/sock' : arg))
      .concat(...['--log-level', 'info']),
  )
  t.teardown(async () => successor.stop())
  await until(() => children(successor.process.pid).length > 0, 'its worker')
  // Longer than --held-timeout: what a worker without a configuration accepted would be gone.
  const until3s = performance.now() + 3000
  const statuses = new Set<number>()
  while (performance.now() < until3s) statuses.add((await ask(proxy.port, 1, '/')).status)
  t.strictSame([...statuses], [200])
  await successor.stop()
  t.strictSame(await workersOf(proxy), [worker])
  t.equal((await ask(proxy.port, 1, '/')).status, 200)
})

t.test(
  'the old one is ended while a successor waits: that one is the proxy',
  async (t) => {
    const healthPort = 20_000 + Math.floor(Math.random() * 10_000)
    const proxy = await startProxy(resources, ['--health-port', String(healthPort)])
    t.teardown(async () => proxy.stop())
    const successor = succeed(proxy, (argv) => [
      ...argv.map((arg) => (arg.startsWith('unix:') ? 'unix:/nonexistent/sock' : arg)),
      ...['--log-level', 'info'],
    ])
    t.teardown(async () => successor.stop())
    await until(() => successor.log.join('').includes('"takesOver":true'), 'its start')
    const exited = once(proxy.process, 'exit')
    proxy.process.kill('SIGTERM')
    t.strictSame(await exited, [0, null])
    t.equal((await proxy.admin('/healthz')).status, 200, 'its admin socket')
    t.equal((await ask(healthPort, 1, '/healthz')).status, 200, 'its health port')
    t.equal(successor.process.exitCode, null)
  },
)

t.test('a successor that is killed while it waits leaves room for another', async (t) => {
  const proxy = await startProxy(resources)
  t.teardown(async () => proxy.stop())
  const lost = succeed(proxy, (argv) =>
    argv
      .map((arg) => (arg.startsWith('unix:') ? 'unix:/nonexistent/sock' : arg))
      .concat(...['--log-level', 'info']),
  )
  await until(() => lost.log.join('').includes('"takesOver":true'), 'its start')
  const exited = once(lost.process, 'exit')
  lost.process.kill('SIGKILL')
  await exited
  const second = succeed(proxy)
  t.teardown(async () => second.stop())
  t.strictSame(await once(proxy.process, 'exit'), [0, null])
  t.equal((await ask(proxy.port, 1, '/')).status, 200)
})

t.test('sockets of other addresses are refused, with what to do', async (t) => {
  const proxy = await startProxy(resources)
  t.teardown(async () => proxy.stop())
  const other = succeed(proxy, (argv) =>
    argv.map((arg) => (arg === '0.0.0.0' ? '127.0.0.1' : arg)),
  )
  const [code] = (await once(other.process, 'exit')) as [number]
  t.not(code, 0)
  t.match(
    other.log.join(''),
    /listens on 0\.0\.0\.0 \d+, not on 127\.0\.0\.1 \d+: stop it/,
  )
  t.equal((await ask(proxy.port, 1, '/')).status, 200)
})

t.test('after kill -9 the path is free', async (t) => {
  const proxy = await startProxy(resources)
  t.teardown(async () => proxy.stop())
  const exited = once(proxy.process, 'exit')
  proxy.process.kill('SIGKILL')
  await exited
  const next = succeed(proxy)
  t.teardown(async () => next.stop())
  await until(
    async () =>
      ask(proxy.port, 1, '/')
        .then(({ status }) => status === 200)
        .catch(() => false),
    'the next one',
  )
})
