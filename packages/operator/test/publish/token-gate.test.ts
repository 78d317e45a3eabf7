// SPDX-License-Identifier: Apache-2.0
// The gate in front of token reviews: cache, one review a token, bounds, time-outs, and peers that keep failing.
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { AuthError, bearerOf, type Identity } from '../../src/publish/authenticate.ts'
import {
  TokenGate,
  type GateEvent,
  type GateLimits,
  type Review,
} from '../../src/publish/token-gate.ts'

const identity: Identity = { node: 'n', podName: 'p', serviceAccount: 'a/b' }
const bad = new AuthError(status.UNAUTHENTICATED, 'expired')

function gateOf(review: Review, limits: Partial<GateLimits> = {}) {
  const events: GateEvent[] = []
  const reviewed: string[] = []
  let now = 0
  const gate = new TokenGate(
    async (token, signal) => {
      reviewed.push(token)
      return review(token, signal)
    },
    { limits, onEvent: (event) => events.push(event), clock: () => now },
  )
  return { gate, events, reviewed, pass: (ms: number) => (now += ms) }
}

const codeOf = async (attempt: Promise<unknown>): Promise<string> => {
  const error = await attempt.then(
    () => undefined,
    (error: unknown) => error,
  )
  return error instanceof AuthError ? status[error.code] : 'OK'
}

t.test('an accepted token is believed for a while, then looked at again', async (t) => {
  const { gate, reviewed, events, pass } = gateOf(async () => identity)
  t.equal(await gate.authenticate('x', 'peer'), identity)
  pass(59_999)
  t.equal(await gate.authenticate('x', 'other peer'), identity)
  t.equal(reviewed.length, 1)
  pass(1)
  await gate.authenticate('x', 'peer')
  t.equal(reviewed.length, 2)
  t.same(events, ['accepted', 'hit', 'accepted'])
})

t.test('the cache is bounded: the oldest goes', async (t) => {
  const { gate, reviewed } = gateOf(async () => identity, { cacheEntries: 2 })
  for (const token of ['a', 'b', 'c', 'c', 'b', 'a']) await gate.authenticate(token, 'p')
  t.same(reviewed, ['a', 'b', 'c', 'a'])
})

t.test('one review serves all who bring the same token meanwhile', async (t) => {
  const gates = Promise.withResolvers<Identity>()
  const { gate, reviewed } = gateOf(() => gates.promise)
  const both = [gate.authenticate('x', 'agent'), gate.authenticate('x', 'proxy')]
  gates.resolve(identity)
  t.same(await Promise.all(both), [identity, identity])
  t.equal(reviewed.length, 1)
})

t.test('few reviews run, few wait, more are told to come back', async (t) => {
  const waiting: (() => void)[] = []
  let most = 0
  let running = 0
  const { gate, events } = gateOf(
    async () => {
      most = Math.max(most, ++running)
      await new Promise<void>((resolve) => waiting.push(resolve))
      running--
      return identity
    },
    { running: 2, waiting: 3 },
  )
  const attempts = Array.from({ length: 5 }, (_, i) => gate.authenticate(`t${i}`, 'p'))
  t.equal(await codeOf(gate.authenticate('t5', 'p')), 'RESOURCE_EXHAUSTED')
  t.same(events, ['busy'])
  const all = Promise.all(attempts)
  for (let left = attempts.length; left > 0;) {
    const release = waiting.shift()
    if (release === undefined) await new Promise((resolve) => setImmediate(resolve))
    else {
      left--
      release()
    }
  }
  t.equal((await all).length, 5)
  t.equal(most, 2)
})

t.test(
  'a review that does not answer ends in time, and nobody is to blame',
  async (t) => {
    let aborted = false
    const never: Review = (_, signal) => {
      signal.addEventListener('abort', () => (aborted = true))
      return new Promise(() => undefined)
    }
    const { gate, events } = gateOf(never, { reviewMs: 5, failures: 1 })
    t.equal(await codeOf(gate.authenticate('x', 'p')), 'UNAVAILABLE')
    t.equal(aborted, true)
    t.equal(await codeOf(gate.authenticate('y', 'p')), 'UNAVAILABLE', 'not limited')
    t.same(events, ['failed', 'failed'])
  },
)

t.test('an error of the review is no verdict, and its text has no token', async (t) => {
  const { gate } = gateOf(async (token) => {
    throw new Error(`POST of ${token} failed`)
  })
  const error = await gate.authenticate('sesame', 'p').catch((e: unknown) => e)
  t.match(error, { code: status.UNAVAILABLE, message: /POST of … failed/ })
})

t.test('a peer that keeps failing is not looked at; others are', async (t) => {
  const { gate, reviewed, events, pass } = gateOf(
    async (token) => {
      if (token !== 'good') throw bad
      return identity
    },
    { failures: 3, failureWindowMs: 1000 },
  )
  await gate.authenticate('good', '10.0.0.9')
  for (let i = 0; i < 3; i++)
    t.equal(await codeOf(gate.authenticate(`guess${i}`, '10.0.0.1')), 'UNAUTHENTICATED')
  t.equal(await codeOf(gate.authenticate('guess3', '10.0.0.1')), 'RESOURCE_EXHAUSTED')
  t.equal(reviewed.length, 4)
  t.equal(events.at(-1), 'limited')
  t.equal(await gate.authenticate('good', '10.0.0.1'), identity, 'known: no review')
  t.equal(await codeOf(gate.authenticate('guess4', '10.0.0.2')), 'UNAUTHENTICATED')
  pass(1000)
  t.equal(await codeOf(gate.authenticate('guess5', '10.0.0.1')), 'UNAUTHENTICATED')
})

t.test('memory of failed peers is bounded', async (t) => {
  const { gate } = gateOf(
    async () => {
      throw bad
    },
    { failures: 1, peers: 1 },
  )
  await codeOf(gate.authenticate('x', 'a'))
  t.equal(await codeOf(gate.authenticate('x', 'a')), 'RESOURCE_EXHAUSTED')
  await codeOf(gate.authenticate('x', 'b'))
  t.equal(await codeOf(gate.authenticate('x', 'a')), 'UNAUTHENTICATED', 'forgotten for b')
})

t.test('what is no token is not looked at', async (t) => {
  const { gate, reviewed } = gateOf(async () => identity)
  t.equal(await codeOf(gate.authenticate(undefined, 'p')), 'UNAUTHENTICATED')
  t.equal(await codeOf(gate.authenticate('x'.repeat(8193), 'p')), 'UNAUTHENTICATED')
  t.equal(reviewed.length, 0)
  t.equal(bearerOf('Bearer abc'), 'abc')
  t.equal(bearerOf('bearer  abc'), 'abc')
  for (const header of [undefined, '', 'Basic abc', 'Bearer', 'Bearer a b'])
    t.equal(bearerOf(header), undefined, header ?? 'none')
})
