// SPDX-License-Identifier: Apache-2.0
// What a filter can do to itself, in its real thread, and what comes of it.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pino from 'pino'
import t, { type Test } from 'tap'
import { FilterHost } from '../../src/extension/host.ts'
import type { Result } from '../../src/extension/result.ts'
import type { Call, Facts } from '../../src/extension/wire.ts'
import { FilterSeries } from '../../src/metrics/filters.ts'
import { until } from '../support/wait.ts'

const facts: Facts = {
  source: {
    namespace: 'shop',
    serviceAccount: 'web',
    workload: 'web',
    address: '10.0.0.1',
  },
  service: { namespace: 'shop', name: 'api', port: 80 },
  route: { kind: '', namespace: '', name: '', rule: 'shop/api' },
  requestId: 'r1',
  traceId: '0'.repeat(32),
  request: { method: 'GET', path: '/a', authority: 'api' },
}
const call = (path: string, config = '{}'): Call => ({
  hook: 'request',
  config,
  facts: { ...facts, request: { ...facts.request, path } },
  status: 0,
  headers: ['x-a', '1'],
})

/** A filter of which the path of the request says what it does. */
const source = `
import { parentPort } from 'node:worker_threads'
export default {
  async onRequest(request, context) {
    request.headers.set('x-seen', 'yes')
    switch (request.path) {
      case '/throw': throw new Error('thrown on purpose')
      case '/hang': return new Promise(() => {})
      case '/loop': for (;;) {}
      case '/chatty': for (;;) context.log.info('still here')
      case '/odd-stack': throw Object.assign(new Error('odd'), { stack: { a: 1 } })
      case '/odd-error': throw Object.create(null)
      case '/sends-nothing': parentPort.postMessage(undefined); return new Promise(() => {})
      case '/sends-null': parentPort.postMessage(null); return new Promise(() => {})
      case '/forges': parentPort.postMessage({ type: 'done', seq: 1 }); return new Promise(() => {})
      case '/throws-later': setTimeout(() => { throw { toString: 1 } }, 1); return
      case '/exit': process.exit(3)
      case '/later': setTimeout(() => { throw new Error('out of nowhere') }, 1); return
      case '/rejected': void Promise.reject(new Error('nobody looks')); return
      case '/memory': { const all = []; for (;;) all.push(new Array(1000).fill(Math.random())) }
      case '/map': { const all = new Map(); for (let i = 0; ; i++) all.set(i, i) }
      case '/buffers': context.constructor.kept = Array.from({ length: 40 }, () => Buffer.alloc(2 ** 20, 1)); return
      case '/array': context.constructor.kept = new Array(2e7).fill(0.5); return new Promise(() => {})
      case '/answer': return { status: 403, body: context.config.text }
      case '/bad-answer': return { status: 99 }
      case '/frozen': context.config.list.push(1); return
      case '/env': request.headers.set('x-env', String(Object.keys(process.env).length)); return
      case '/log': console.log('said plainly'); context.log.warn('said well'); return
      case '/facts': request.headers.set('x-facts', [context.source.namespace, context.source.serviceAccount,
        context.service.name, context.route.rule, context.requestId, request.method, request.authority].join(' '))
    }
  },
}`

type Line = { readonly level: number; readonly msg: string } & Record<string, unknown>

function hosted(
  t: Test,
  code: string = source,
  more: { maxPending?: number } = {},
): {
  host: FilterHost
  lines: Line[]
  metrics: FilterSeries
  want(code: string, version: string): void
  ask(path: string, timeoutMs?: number, config?: string): Promise<Result>
} {
  const path = t.testdir({ 'f.mjs': code })
  const lines: Line[] = []
  const write = (text: string): void => {
    lines.push(JSON.parse(text) as Line)
  }
  const metrics = new FilterSeries()
  const settings = {
    secretsDir: '',
    memoryBytes: 32 * 2 ** 20,
    maxPending: 1024,
    ...more,
  }
  const host = new FilterHost('f', { ...settings, metrics, log: pino({}, { write }) })
  t.teardown(() => {
    host.close()
  })
  const { href } = pathToFileURL(join(path, 'f.mjs'))
  host.want(href, '1')
  return {
    host,
    lines,
    metrics,
    want: (next, version) => {
      writeFileSync(join(path, 'f.mjs'), next)
      host.want(href, version)
    },
    ask: async (what, timeoutMs = 10_000, config = '{}') =>
      new Promise((resolve) => {
        host.call(call(what, config), timeoutMs, resolve)
      }),
  }
}

const died = (metrics: FilterSeries): number => metrics.deaths.get('f') ?? 0

t.test(
  'changes and answers come back; calls before the import wait for it',
  async (t) => {
    const { ask, metrics, lines } = hosted(t)
    t.strictSame(await ask('/'), {
      ...{ type: 'done', seq: 1, kind: 'done' },
      ...{ edits: ['set', 'x-seen', 'yes'], answer: undefined },
    })
    t.match(await ask('/answer', 1000, '{"text":"no"}'), {
      answer: { status: 403, body: 'no', grpcStatus: 7 },
    })
    t.match(await ask('/facts'), {
      edits: [
        'set',
        'x-seen',
        'yes',
        'set',
        'x-facts',
        'shop web api shop/api r1 GET api',
      ],
    })
    t.match(await ask('/env'), { edits: { 5: '0' } }, 'nothing of the environment')
    await ask('/log')
    await until(() => lines.some(({ msg }) => msg === 'said plainly'), 'console')
    await until(() => lines.some(({ msg }) => msg === 'said well'), 'the log')
    t.match([...metrics.samples].map(({ labels }) => labels['outcome']).sort(), [
      'answered',
      'done',
    ])
  },
)

t.test('what goes wrong in a call costs that call, and its changes', async (t) => {
  const { ask, metrics, lines } = hosted(t)
  t.match(await ask('/throw'), { kind: 'threw', error: /thrown on purpose\n.*f\.mjs/s })
  t.match(await ask('/bad-answer'), { kind: 'threw', error: /200 to 599/ })
  t.match(await ask('/frozen', 1000, '{"list":[]}'), {
    kind: 'threw',
    error: /not extensible/,
  })
  t.match(await ask('/odd-stack'), { kind: 'threw', error: '[object Object]' })
  t.match(await ask('/odd-error'), { kind: 'threw', error: /cannot be made a text/ })
  t.match(await ask('/hang', 50), { kind: 'timeout', error: 'no answer in 50 ms' })
  t.match(await ask('/'), { kind: 'done' })
  t.equal(died(metrics), 0)
  t.ok(lines.some(({ outcome }) => outcome === 'threw'))
  t.notOk([...metrics.samples].some(({ duration }) => duration.count === 0))
})

for (const [path, why] of [
  ['/loop', /a loop/],
  ['/chatty', /a loop/],
  ['/sends-nothing', /no message/],
  ['/sends-null', /no message/],
  ['/forges', /no message/],
  ['/throws-later', /cannot be made a text/],
  ['/exit', /code 3/],
  ['/later', /out of nowhere/],
  ['/rejected', /nobody looks/],
  ['/memory', /--filter-memory/],
  ['/map', /--filter-memory/],
  ['/buffers', /--filter-memory/],
  ['/array', /--filter-memory/],
] as const) {
  t.test(`${path}: the thread ends, and another one serves`, async (t) => {
    const { ask, metrics, host, lines } = hosted(t)
    await ask('/')
    void ask(path, 20_000)
    if (why.source === 'a loop') void ask('/', 100)
    await until(() => died(metrics) === 1, 'the end of the thread', 20_000)
    await until(async () => (await ask('/', 1000)).kind === 'done', 'another thread')
    t.match(host.dump(), { state: 'serving', restarts: 1, problem: undefined })
    t.match(
      lines.find(({ msg }) => msg === 'filter not usable'),
      { problem: why },
    )
  })
}

t.test('garbage is not held against a filter', async (t) => {
  const { ask, metrics } = hosted(
    t,
    `export default { onRequest() { // 2 MiB, and nothing of it is kept
      for (let i = 0; i < 2; i++) new Array(2 ** 17).fill(i + 0.5)
    } }`,
  )
  const startedMs = performance.now()
  let calls = 0
  for (; performance.now() - startedMs < 2000; calls++)
    if ((await ask('/')).kind !== 'done') t.fail('a call failed')
  t.ok(calls > 5, `${calls} calls`)
  t.equal(died(metrics), 0)
})

t.test('calls without an answer are bounded', async (t) => {
  const { ask } = hosted(t, source, { maxPending: 2 })
  await ask('/')
  const held = [ask('/hang', 300), ask('/hang', 300)]
  t.match(await ask('/'), { kind: 'overflow' })
  t.match(await Promise.all(held), [{ kind: 'timeout' }, { kind: 'timeout' }])
  const free = async (): Promise<boolean> => (await ask('/')).kind === 'done'
  await until(free, 'that calls which are never answered count no longer')
})

t.test('a version that cannot be loaded leaves the last one in place', async (t) => {
  const { ask, host, want, lines } = hosted(t)
  await ask('/')
  for (const [code, problem] of [
    ['export default {', /SyntaxError/],
    ['export const filter = {}', /default export is not an object/],
    ['export default {}', /neither onRequest nor onResponse/],
    ['export default { onRequest: 1 }', /not a function/],
    ['export default { onrequest() {} }', /"onrequest"/],
    ['throw new Error("at import")', /at import/],
  ] as const) {
    want(code, code)
    await until(
      () => problem.test(String(host.dump()['problem'])),
      `${String(problem)}, not ${String(host.dump()['problem'])}`,
    )
    t.match(host.dump(), { state: 'serving', version: '1' })
    t.match(await ask('/'), { kind: 'done' })
  }
  t.ok(lines.every(({ msg, keeps }) => msg !== 'filter not usable' || keeps === '1'))
  want('export default { onRequest({ headers }) { headers.set("x-v", "2") } }', '2')
  await until(() => host.dump()['version'] === '2', 'the next good version')
  t.match(await ask('/'), { edits: ['set', 'x-v', '2'] })
  t.equal(host.dump()['problem'], undefined)
})

t.test('a running call ends in the version in which it began', async (t) => {
  const slow = `export default { async onRequest({ headers }) {
    await new Promise((go) => setTimeout(go, 500)); headers.set('x-v', '1') } }`
  const { ask, host, want } = hosted(t, slow)
  await until(() => host.dump()['state'] === 'serving', 'the first version')
  const running = ask('/')
  want('export default { onRequest({ headers }) { headers.set("x-v", "2") } }', '2')
  await until(() => host.dump()['version'] === '2', 'the second version')
  t.match(await ask('/'), { edits: ['set', 'x-v', '2'] })
  t.match(await running, { edits: ['set', 'x-v', '1'] })
})

t.test('without a file calls fail at once, and say why', async (t) => {
  const { ask, host } = hosted(t)
  await ask('/')
  host.lacks('there is no file')
  t.match(await ask('/'), { kind: 'done' }, 'what serves goes on')
  const none = new FilterHost('g', {
    ...{ secretsDir: '', memoryBytes: 2 ** 25, maxPending: 1 },
    ...{ metrics: new FilterSeries(), log: pino({ level: 'silent' }) },
  })
  none.lacks('there is no file')
  const result = await new Promise<Result>((resolve) => {
    none.call(call('/'), 1000, resolve)
  })
  t.match(result, { kind: 'absent', error: 'there is no file' })
  t.match(none.dump(), { state: 'missing' })
})

t.test('calls wait until it is known whether there is a file', async (t) => {
  const path = t.testdir({ 'f.mjs': source })
  const settings = {
    ...{ secretsDir: '', memoryBytes: 2 ** 25, maxPending: 1 },
    ...{ metrics: new FilterSeries(), log: pino({ level: 'silent' }) },
  }
  const ask = async (host: FilterHost, timeoutMs: number): Promise<Result> =>
    new Promise((resolve) => {
      host.call(call('/'), timeoutMs, resolve)
    })
  const host = new FilterHost('f', settings)
  t.teardown(() => {
    host.close()
  })
  const [first, second] = [ask(host, 10_000), ask(host, 10_000)]
  t.match(await second, { kind: 'absent' }, 'one too many')
  host.want(pathToFileURL(join(path, 'f.mjs')).href, '1')
  t.match(await first, { kind: 'done' })
  t.match(
    await ask(new FilterHost('g', settings), 10),
    { kind: 'absent' },
    'nobody looks',
  )
})
