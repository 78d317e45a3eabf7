// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import type { Endpoint } from '../../../src/cluster/endpoint.ts'
import { leastRequest } from '../../../src/cluster/balance/p2c.ts'
import { makeEndpoint } from '../../support/endpoint.ts'

function make(active: number, weight = 1): Endpoint {
  const endpoint = makeEndpoint('10.0.0.1', { weight })
  endpoint.active = active
  return endpoint
}

t.test('none, one, the idler of two, the weightier of two', async (t) => {
  t.equal(leastRequest([], Math.random, []), undefined)
  const busy = make(5)
  t.equal(leastRequest([busy], Math.random, [busy]), busy)
  const idle = make(1)
  for (let i = 0; i < 20; i++) t.equal(leastRequest([busy, idle], Math.random, []), idle)
  const heavy = make(5, 10)
  for (let i = 0; i < 20; i++)
    t.equal(leastRequest([idle, heavy], Math.random, []), heavy)
})

t.test('tried ones are avoided while there are others', async (t) => {
  const [a, b] = [make(0), make(100)]
  for (let i = 0; i < 20; i++) t.equal(leastRequest([a, b], Math.random, [a]), b)
  t.ok(leastRequest([a, b], Math.random, [a, b]))
})

t.test('equal ones share evenly', async (t) => {
  const endpoints = Array.from({ length: 5 }, () => make(0))
  const counts = new Map<Endpoint, number>()
  for (let i = 0; i < 5000; i++) {
    const chosen = leastRequest(endpoints, Math.random, [])
    if (chosen !== undefined) counts.set(chosen, (counts.get(chosen) ?? 0) + 1)
  }
  for (const count of counts.values()) t.ok(Math.abs(count - 1000) < 200, `${count}`)
})

t.test('a terminating endpoint says so', async (t) => {
  const endpoint = makeEndpoint('fd00::1', { terminating: true })
  t.match(endpoint, { ready: true, terminating: true, family: 6 })
})
