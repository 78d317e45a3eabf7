// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Passes } from '../src/passes.ts'

/** Passes that end when the test says so. */
function controlled(retryMs = 60_000) {
  const begun: PromiseWithResolvers<void>[] = []
  const logged: string[] = []
  const passes = new Passes({
    name: 'things',
    retryMs,
    log: (message) => logged.push(message),
    pass: () => {
      const one = Promise.withResolvers<void>()
      begun.push(one)
      return one.promise
    },
  })
  return { passes, begun, logged }
}

t.test('however often it is asked while one runs, one more follows', async (t) => {
  const { passes, begun } = controlled()
  const all = passes.run()
  for (let i = 0; i < 5; i++) await passes.run() // at once: the first one will do it
  t.equal(begun.length, 1)
  begun[0]?.resolve()
  await sleep(1)
  t.equal(begun.length, 2)
  begun[1]?.resolve()
  await all
  t.equal(begun.length, 2)
  const later = passes.run()
  t.equal(begun.length, 3, 'and it can be asked again')
  begun[2]?.resolve()
  await later
})

t.test('a failure is logged and tried again, once', async (t) => {
  const { passes, begun, logged } = controlled(5)
  const first = passes.run()
  void passes.run()
  begun[0]?.reject(new Error('no such thing'))
  await first
  t.same(logged, ['things: no such thing; next try in 5 ms'])
  const deadline = Date.now() + 5000
  while (begun.length < 2 && Date.now() < deadline) await sleep(1)
  t.equal(begun.length, 2)
  begun[1]?.resolve()
  await sleep(20)
  t.equal(begun.length, 2)
})

t.test('after close no pass begins: neither what was asked nor a retry', async (t) => {
  const { passes, begun, logged } = controlled(1)
  const first = passes.run()
  void passes.run()
  passes.close()
  begun[0]?.resolve()
  await first
  await passes.run()
  t.equal(begun.length, 1)

  const failing = controlled(1)
  const run = failing.passes.run()
  failing.begun[0]?.reject(new Error('away'))
  await run
  failing.passes.close()
  await sleep(20)
  t.equal(failing.begun.length, 1)
  t.same(logged, [])
})
