// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { RetryBudget } from '../../src/filter/retry-budget.ts'

const rule = { percent: 20, intervalMs: 10_000, minRetries: 2, minIntervalMs: 1000 }

function taken(budget: RetryBudget, nowMs: number, wanted: number): number {
  let count = 0
  for (let i = 0; i < wanted; i++) if (budget.take(nowMs)) count++
  return count
}

t.test('percent of the requests of the interval', async (t) => {
  const budget = new RetryBudget(rule)
  for (let i = 0; i < 100; i++) budget.request(50_000)
  t.equal(taken(budget, 50_000, 100), 20)
})

t.test('the minimum rate is free, and renews', async (t) => {
  const budget = new RetryBudget(rule)
  t.equal(taken(budget, 50_000, 10), 2)
  t.equal(taken(budget, 50_500, 10), 0)
  t.equal(taken(budget, 51_100, 10), 2)
})

t.test('requests leave the window', async (t) => {
  const budget = new RetryBudget({ ...rule, minRetries: 0 })
  for (let i = 0; i < 100; i++) budget.request(50_000)
  t.equal(taken(budget, 59_000, 5), 5)
  t.equal(taken(budget, 61_500, 100), 0)
  t.equal(taken(budget, 9_000_000, 100), 0, 'after a long silence')
  for (let i = 0; i < 10; i++) budget.request(9_000_000)
  t.equal(taken(budget, 9_000_000, 100), 2)
})

t.test('a new rule applies at once', async (t) => {
  const budget = new RetryBudget(rule)
  for (let i = 0; i < 100; i++) budget.request(50_000)
  budget.update({ ...rule, percent: 50 })
  t.equal(taken(budget, 50_000, 100), 50)
})
