// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { IdleTimer } from '../../src/limit/idle.ts'
import { until } from '../support/wait.ts'

t.test('comes after every silence, and only then', async (t) => {
  let [traffic, calls] = [0, 0]
  const talk = setInterval(() => traffic++, 5)
  const started = performance.now()
  const timer = new IdleTimer(
    () => traffic,
    400,
    () => calls++,
  )
  await until(() => performance.now() - started > 700, 'twice the time')
  t.equal(calls, 0, 'there was traffic')
  clearInterval(talk)
  const silent = performance.now()
  await until(() => calls === 1, 'the silence')
  t.ok(performance.now() - silent > 290, 'not at once')
  await until(() => calls === 2, 'the next one')
  timer.clear()
})

t.test('not after its end', async (t) => {
  let calls = 0
  const timer = new IdleTimer(
    () => 0,
    4,
    () => calls++,
  )
  await until(() => calls > 0, 'a silence')
  timer.clear()
  const before = calls
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(calls, before)
})
