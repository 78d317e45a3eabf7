// SPDX-License-Identifier: Apache-2.0
// What an L7Service says of balancing and limits, as the proxy gets it.
import { Algorithm, HashSource, LimitScope } from '@pillion/contract'
import t from 'tap'
import { compileYaml, pod, service, slice } from '../support/objects.ts'

const shop = [
  pod('shop', 'web', '10.244.1.2'),
  service('shop', 'web', '10.96.0.5'),
  slice('shop', 'web', ['10.244.1.2']),
].join('')

function tableOf(spec: object) {
  const l7 = {
    apiVersion: 'mesh.pillion.dev/v1alpha1',
    kind: 'L7Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { targetRef: { name: 'web' }, protocol: 'http', ...spec },
  }
  const { routes } = compileYaml(`${shop}\n---\n${JSON.stringify(l7)}\n`)
  return [...routes.tables.values()][0]
}

t.test('nothing said is nothing sent', async (t) => {
  t.equal(tableOf({}), undefined)
  t.equal(tableOf({ timeouts: { request: '1s' } })?.traffic, undefined)
})

t.test('every part, with its defaults', async (t) => {
  const traffic = tableOf({
    loadBalancing: {
      algorithm: 'RingHash',
      hashOn: { type: 'Header', name: 'X-User' },
      locality: 'PreferZone',
    },
    circuitBreaker: { maxRequests: 7 },
    outlierEjection: { successRate: {} },
    rateLimits: [
      { requests: 5 },
      { per: 'Identity', requests: 1, interval: '1m', burst: 3 },
    ],
    connectionPool: { maxAge: '1m' },
    retryThrottling: { tokenRatio: 0.25 },
    hedging: { delay: '50ms', nonFatalGrpcCodes: ['UNAVAILABLE'] },
    faults: { abort: { percent: 0.01 } },
  })?.traffic
  t.strictSame(traffic, {
    balancing: {
      algorithm: Algorithm.RING_HASH,
      hashSource: HashSource.HEADER,
      hashName: 'x-user',
      preferZone: true,
      slowStartMs: 0,
    },
    circuitBreaker: {
      maxConnections: 0,
      maxPendingRequests: 0,
      maxRequests: 7,
      maxRetries: 0,
    },
    outlierEjection: {
      consecutiveErrors: 5,
      consecutiveGatewayErrors: 0,
      successRate: { minEndpoints: 5, minRequests: 100, deviationsPercent: 190 },
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionMs: 300_000,
      maxEjectedPercent: 10,
      panicPercent: 50,
    },
    rateLimits: [
      { scope: LimitScope.SERVICE, requests: 5, intervalMs: 1000, burst: 5 },
      { scope: LimitScope.IDENTITY, requests: 1, intervalMs: 60_000, burst: 3 },
    ],
    globalRateLimit: undefined,
    connectionPool: { idleMs: 0, maxAgeMs: 60_000, maxRequests: 0 },
    faults: {
      delayShare: 0,
      delayMs: 0,
      abortShare: 100,
      abortStatus: 503,
      abortGrpcStatus: 14,
    },
    retryThrottling: { maxTokens: 10, tokenMilli: 250 },
    hedging: {
      maxAttempts: 2,
      delayMs: 50,
      nonFatalCodes: [],
      nonFatalGrpcCodes: ['UNAVAILABLE'],
    },
  })
})

t.test('slow start; cookies keep their case', async (t) => {
  const { balancing } = tableOf({ loadBalancing: { slowStart: '30s' } })?.traffic ?? {}
  t.match(balancing, { algorithm: Algorithm.LEAST_REQUEST, slowStartMs: 30_000 })
  const hashOn = { type: 'Cookie', name: 'User' }
  const cookie = tableOf({ loadBalancing: { algorithm: 'Maglev', hashOn } })?.traffic
  t.match(cookie?.balancing, { hashSource: HashSource.COOKIE, hashName: 'User' })
})
