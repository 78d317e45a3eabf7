// SPDX-License-Identifier: Apache-2.0
// A filter that is slower than its calls come. It sleeps instead of working, so that this costs no CPU.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { FilterThread } from '../../src/extension/filter-thread.ts'
import type { Result } from '../../src/extension/result.ts'
import type { Call } from '../../src/extension/wire.ts'
import { until } from '../support/wait.ts'

/** Blocks its thread for as many milliseconds, or until there is a file. Tells how many calls it has carried out. */
const source = `
import { existsSync } from 'node:fs'
const cell = new Int32Array(new SharedArrayBuffer(4))
let calls = 0
export default {
  onRequest({ headers }, { config }) {
    calls++
    if (typeof config === 'number') Atomics.wait(cell, 0, 0, config)
    else while (!existsSync(config)) Atomics.wait(cell, 0, 0, 10)
    headers.set('x-calls', String(calls))
  },
}`

const call = (block: number | string): Call => ({
  hook: 'request',
  config: JSON.stringify(block),
  facts: {
    source: { namespace: '', serviceAccount: '', workload: '', address: '' },
    service: { namespace: 'shop', name: 'api', port: 80 },
    route: { kind: '', namespace: '', name: '', rule: '' },
    requestId: '',
    traceId: '',
    request: { method: 'GET', path: '/', authority: 'api' },
  },
  status: 0,
  headers: [],
})

async function started(
  t: Test,
  maxPending: number,
): Promise<{
  thread: FilterThread
  directory: string
  ends: string[]
  ask(block: number | string, timeoutMs: number): Promise<Result>
}> {
  const directory = t.testdir({ 'f.mjs': source })
  const file = pathToFileURL(join(directory, 'f.mjs')).href
  const ends: string[] = []
  let ready = false
  const thread = new FilterThread(
    { file, secretsDir: '', memoryBytes: 2 ** 25, maxPending },
    {
      onReady: () => {
        ready = true
      },
      onEnd: (reason) => ends.push(reason),
      onLine: () => undefined,
    },
  )
  t.teardown(() => {
    thread.close()
  })
  await until(() => ready, 'the thread')
  return {
    thread,
    directory,
    ends,
    ask: async (block, timeoutMs) =>
      new Promise((resolve) => {
        thread.call(call(block), timeoutMs, resolve)
      }),
  }
}

t.test('calls that timed out count while they may be in its queue', async (t) => {
  const { thread, directory, ends, ask } = await started(t, 4)
  const goOn = join(directory, 'go-on')
  const blocking = ask(goOn, 20_000)
  const late = await Promise.all([ask(0, 20), ask(0, 20), ask(0, 20)])
  t.ok(late.every(({ kind }) => kind === 'timeout'))
  t.equal(thread.pending, 4)
  t.match(await ask(0, 20), { kind: 'overflow', error: /^4 calls/ })
  writeFileSync(goOn, '')
  t.match(await blocking, { kind: 'done' })
  await until(() => thread.pending === 0, 'that it has taken them up')
  t.match(await ask(0, 5000), { kind: 'done' })
  t.strictSame(ends, [], 'slow is no reason to end it')
})

t.test('after too many calls it recovers: it leaves out what is too late', async (t) => {
  const { thread, ends, ask } = await started(t, 500)
  // For 25 s of sleep.
  const all = await Promise.all(Array.from({ length: 500 }, async () => ask(50, 200)))
  t.ok(all.filter(({ kind }) => kind === 'timeout').length > 400, 'most were late')
  await until(() => thread.pending < 500, 'room')
  const next = await ask(0, 5000)
  t.match(next, { kind: 'done' })
  const calls = next.kind === 'done' ? Number(next.edits[2]) : 0
  t.ok(calls > 0 && calls < 100, `${calls} calls were carried out`)
  t.strictSame(ends, [])
})

t.test('what has waited for half of its time is not begun', async (t) => {
  const { directory, ask } = await started(t, 10)
  const goOn = join(directory, 'go-on')
  const blocking = ask(goOn, 20_000)
  const waiting = ask(0, 1000)
  setTimeout(() => {
    writeFileSync(goOn, '')
  }, 600)
  t.match(await waiting, { kind: 'timeout' })
  t.match(await blocking, { edits: { 2: '1' } })
  t.match(await ask(0, 10_000), { edits: { 2: '2' } })
})

t.test(
  'a thread that is slow and answers is no loop; one that is silent is',
  async (t) => {
    const { thread, ends, ask } = await started(t, 100)
    // The ping comes behind 2 s of calls that are not late themselves.
    const slow = Promise.all(Array.from({ length: 10 }, async () => ask(200, 20_000)))
    t.match(await ask(0, 20), { kind: 'timeout' })
    t.ok((await slow).every(({ kind }) => kind === 'done'))
    await until(() => thread.pending === 0, 'the pong')
    t.strictSame(ends, [])
    void ask(20_000, 30_000)
    void ask(0, 20)
    await until(() => ends.length === 1, 'its end')
    t.match(ends, [/answered nothing for 1000 ms/])
  },
)
