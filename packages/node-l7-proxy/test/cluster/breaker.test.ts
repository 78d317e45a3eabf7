// SPDX-License-Identifier: Apache-2.0
import { CircuitBreaker as Limits } from '@pillion/contract'
import t from 'tap'
import { CircuitBreaker, ConnectionGate } from '../../src/cluster/breaker.ts'

function breaker(limits: Partial<Limits>): CircuitBreaker {
  const made = new CircuitBreaker()
  made.update(Limits.fromPartial(limits))
  return made
}

t.test('without limits nothing is refused', async (t) => {
  const free = new CircuitBreaker()
  for (let i = 0; i < 5000; i++) free.enter()
  t.equal(free.refusal(), undefined)
  t.equal(free.requests, 5000)
})

t.test('requests, and a place is given back once', async (t) => {
  const limited = breaker({ maxRequests: 2 })
  const place = limited.enter()
  limited.enter()
  t.equal(limited.refusal(), 'circuit breaker: 2 requests')
  place.leave()
  place.leave()
  place.connected()
  t.equal(limited.refusal(), undefined)
  t.match(limited, { requests: 1, pending: 1, retries: 0 })
})

t.test('pending requests: until they are connected', async (t) => {
  const limited = breaker({ maxPendingRequests: 1 })
  const place = limited.enter()
  t.equal(limited.refusal(), 'circuit breaker: 1 pending requests')
  place.connected()
  place.connected()
  t.equal(limited.refusal(), undefined)
  t.match(limited, { requests: 1, pending: 0 })
})

t.test('retries', async (t) => {
  const limited = breaker({ maxRetries: 1 })
  t.equal(limited.enterRetry(), true)
  t.equal(limited.enterRetry(), false)
  t.equal(limited.refusal(), undefined)
  limited.leaveRetry()
  t.equal(limited.enterRetry(), true)
  t.equal(limited.retries, 1)
})

t.test('connections: of all pools, but a pool without any gets one', async (t) => {
  const limited = breaker({ maxConnections: 2 })
  const [a, b, c] = [1, 2, 3].map(() => new ConnectionGate(limited))
  t.equal(a?.enter(), undefined)
  t.equal(a?.enter(), undefined)
  t.equal(a?.enter(), 'circuit breaker: 2 connections')
  t.equal(b?.enter(), undefined)
  t.equal(b?.enter(), 'circuit breaker: 2 connections')
  t.equal(limited.connections, 3)
  a?.leave()
  a?.leave()
  t.equal(b?.enter(), undefined)
  t.equal(limited.connections, 2)
  t.equal(c?.enter(), undefined)
})
