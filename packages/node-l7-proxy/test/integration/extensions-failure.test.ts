// SPDX-License-Identifier: Apache-2.0
// Filters of users that fail, through the real processes: who pays, what is said, and what happens when the ConfigMap changes.
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { filter, mountConfigMap } from '../support/filters.ts'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const backend = await httpBackend((request, response) => {
  response.setHeader('x-edited', String(request.headers['x-edited'] ?? 'no'))
  response.end(request.url)
})
t.teardown(async () => backend.close())

const versioned = (version: string): string => `
  export default { onRequest({ headers }: { headers: Headers }) { headers.set('x-edited', '${version}') } }`
const fragile = `
  export default {
    async onRequest({ headers, path }) {
      headers.set('x-edited', 'yes')
      if (path === '/throw') throw new Error('thrown on purpose')
      if (path === '/reject') await Promise.reject(new Error('rejected on purpose'))
      if (path === '/late') await new Promise(() => {})
      if (path === '/loop') for (;;) ;
      if (path === '/crash') { setTimeout(() => { throw new Error('out of nowhere') }, 0); await new Promise(() => {}) }
      if (path === '/bad') headers.set('content-length', '0')
    },
    onResponse({ headers, request }) {
      headers.set('x-response', 'yes')
      if (request.path === '/throw-back') throw new Error('on the way back')
    },
  }`
const files = { 'fragile.mjs': fragile, 'versioned.ts': versioned('one') }
const mounted = mountConfigMap(files)
t.teardown(() => {
  mounted.remove()
})

const served = (id: number, name: string, ...filters: ReturnType<typeof filter>[]) => [
  service(id, name, L7Protocol.HTTP),
  endpoint(id, name, backend.port),
  table(id, name, { filters }),
]
const proxy = await startProxy(
  [
    ...served(1, 'reject', filter('fragile')),
    ...served(2, 'bypass', filter('fragile', { bypass: true })),
    ...served(7, 'hasty', filter('fragile', { timeoutMs: 500 })),
    ...served(8, 'hasty-bypass', filter('fragile', { timeoutMs: 500, bypass: true })),
    ...served(3, 'other', filter('versioned')),
    ...served(4, 'missing', filter('nowhere')),
    ...served(5, 'missed', filter('nowhere', { bypass: true })),
    service(6, 'plain', L7Protocol.HTTP),
    endpoint(6, 'plain', backend.port),
  ],
  ['--filters-dir', mounted.path, '--max-filters', '3', '--log-level', 'info'],
)
t.teardown(async () => proxy.stop())

type Dump = { readonly name: string } & Readonly<Record<string, unknown>>
async function dumpOf(name: string): Promise<Dump | undefined> {
  const { body } = await proxy.admin('/debug/config')
  const { inForce } = JSON.parse(body) as { inForce?: { filters: Dump[] } }
  return inForce?.filters.find((each) => each.name === name)
}
const failed = async (outcome: string): Promise<number> =>
  proxy.metric(
    'pillion_filter_duration_milliseconds_count',
    'filter="fragile"',
    `outcome="${outcome}"`,
  )

for (const [path, outcome, why, logged] of [
  ['/throw', 'threw', 'failed', 'thrown on purpose'],
  ['/reject', 'threw', 'failed', 'rejected on purpose'],
  ['/bad', 'threw', 'failed', 'about framing'],
  ['/throw-back', 'threw', 'failed', 'on the way back'],
  ['/late', 'timeout', 'took too long', 'no answer in 500 ms'],
] as const) {
  t.test(`${path}: 500 that says which filter, or as if there were none`, async (t) => {
    const before = await failed(outcome)
    const [reject, bypass] = path === '/late' ? [7, 8] : [1, 2]
    const reply = await ask(proxy.port, reject, path)
    t.equal(reply.status, 500)
    t.equal(reply.headers['x-pillion-reason'], 'FILTER_FAILED')
    t.ok(reply.body.endsWith(`(fragile ${why})\n`), reply.body)
    t.notMatch(reply.body, /on purpose|fragile\.mjs/, 'a client is not told how')
    const bypassed = await ask(proxy.port, bypass, path)
    t.match(bypassed, { status: 200, body: path })
    const kept = path === '/throw-back'
    t.equal(bypassed.headers['x-edited'], kept ? 'yes' : 'no', 'changes are undone')
    t.equal(bypassed.headers['x-response'], kept ? undefined : 'yes')
    t.equal(await failed(outcome), before + 2)
    await until(() => proxy.log.some((line) => line.includes(logged)), 'the log')
  })
}

t.test('a filter that is not there', async (t) => {
  const reply = await ask(proxy.port, 4, '/')
  t.match(reply, { status: 500, body: /nowhere is not there/ })
  t.match(await ask(proxy.port, 5, '/'), { status: 200 })
  t.match(await dumpOf('nowhere'), { state: 'missing', problem: /no file nowhere\.ts/ })
})

t.test('an endless loop costs requests of its filter only, and no worker', async (t) => {
  const stop = { now: false }
  let slowestMs = 0
  let others = 0
  const beside = (async () => {
    while (!stop.now) {
      const startedMs = performance.now()
      t.match(await ask(proxy.port, others++ % 2 === 0 ? 3 : 6, '/'), { status: 200 })
      slowestMs = Math.max(slowestMs, performance.now() - startedMs)
    }
  })()
  const looping = await Promise.all([
    ask(proxy.port, 7, '/loop'),
    ask(proxy.port, 8, '/loop'),
  ])
  t.strictSame(
    looping.map(({ status }) => status),
    [500, 200],
  )
  await until(
    async () => (await proxy.metric('pillion_filter_deaths_total')) === 1,
    'its end',
  )
  await until(
    async () => (await ask(proxy.port, 1, '/')).status === 200,
    'another thread',
  )
  stop.now = true
  await beside
  t.ok(others > 10, `${others} requests beside it`)
  t.ok(slowestMs < 1000, `none of them took longer than ${slowestMs} ms`)
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
  t.match(await dumpOf('fragile'), { restarts: 1 })
})

t.test(
  'an error out of nowhere ends the thread, and the calls that it had',
  async (t) => {
    t.match(await ask(proxy.port, 1, '/crash'), { status: 500, body: /fragile ended/ })
    await until(
      async () => (await ask(proxy.port, 1, '/')).status === 200,
      'another thread',
    )
    t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
  },
)

t.test('the ConfigMap changes: the new version, or the last good one', async (t) => {
  const edited = async (): Promise<unknown> =>
    (await ask(proxy.port, 3, '/')).headers['x-edited']
  t.equal(await edited(), 'one')
  const seen = new Set<unknown>()
  const until2 = async (version: string): Promise<void> =>
    until(async () => {
      const now = await edited()
      seen.add(now)
      return now === version
    }, version)
  mounted.swap({ ...files, 'versioned.ts': versioned('two') })
  await until2('two')
  t.strictSame([...seen], ['one', 'two'], 'no request went without it')
  mounted.swap({ ...files, 'versioned.ts': 'export default { onRequest( {' })
  await until(
    async () => String((await dumpOf('versioned'))?.['problem']).includes('SyntaxError'),
    'the problem',
  )
  t.match(await dumpOf('versioned'), { state: 'serving' })
  t.equal(await edited(), 'two')
  mounted.swap({ 'fragile.mjs': fragile })
  await until(
    async () => String((await dumpOf('versioned'))?.['problem']).includes('no file'),
    'that it is gone',
  )
  t.equal(await edited(), 'two', 'what serves goes on')
  mounted.swap({ ...files, 'versioned.ts': versioned('three') })
  await until2('three')
  t.equal((await dumpOf('versioned'))?.['problem'], undefined)
})

t.test('services come and go, and so do threads; there are only so many', async (t) => {
  await proxy.operator.send([
    table(6, 'plain', { filters: [filter('one-too-many', { bypass: true })] }),
  ])
  t.match(await dumpOf('one-too-many'), {
    state: 'refused',
    problem: /more than 3 filters/,
  })
  t.match(await ask(proxy.port, 6, '/'), { status: 200 })
  t.equal(
    await proxy.metric(
      'pillion_filter_duration_milliseconds_count',
      '(not loaded)',
      '"request"',
    ),
    1,
  )
  await proxy.operator.send([table(4, 'missing', {}), table(5, 'missed', {})])
  t.equal(await dumpOf('nowhere'), undefined)
  t.match(await dumpOf('one-too-many'), { state: 'missing' })
  t.match(await ask(proxy.port, 4, '/'), { status: 200 })
})
