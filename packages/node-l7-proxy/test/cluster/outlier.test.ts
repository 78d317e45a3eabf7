// SPDX-License-Identifier: Apache-2.0
import { OutlierEjection } from '@pillion/contract'
import t from 'tap'
import type { Endpoint } from '../../src/cluster/endpoint.ts'
import {
  type AttemptResult,
  type Ejection,
  OutlierDetector,
  resultOfGrpcStatus,
  resultOfStatus,
} from '../../src/cluster/outlier.ts'
import { makeEndpoint } from '../support/endpoint.ts'

const base = {
  consecutiveErrors: 3,
  intervalMs: 1000,
  baseEjectionMs: 10_000,
  maxEjectionMs: 25_000,
  maxEjectedPercent: 50,
  panicPercent: 0,
}

function setUp(count: number, rule: Partial<OutlierEjection> = {}) {
  const told = { ejections: [] as Ejection[], lifted: 0, panics: 0 }
  const detector = new OutlierDetector({
    ejected: (_endpoint, ejection) => told.ejections.push(ejection),
    panicked: () => told.panics++,
    lifted: () => told.lifted++,
  })
  detector.update(OutlierEjection.fromPartial({ ...base, ...rule }))
  const endpoints = Array.from({ length: count }, (_, i) => makeEndpoint(`10.0.0.${i}`))
  const record = (i: number, result: AttemptResult, atMs: number, times = 1): void => {
    const endpoint = endpoints[i]
    if (endpoint === undefined) throw new Error(`no endpoint ${i}`)
    for (let n = 0; n < times; n++) detector.record(endpoint, result, endpoints, atMs)
  }
  const left = (atMs: number): number[] =>
    detector
      .usable(endpoints, atMs)
      .map((endpoint: Endpoint) => endpoints.indexOf(endpoint))
  return { told, detector, endpoints, record, left }
}

t.test('failures in a row eject, one good answer begins anew', async (t) => {
  const { record, left, told, detector, endpoints } = setUp(3)
  record(0, 'error', 1, 2)
  record(0, 'good', 1)
  record(0, 'error', 1, 2)
  t.equal(detector.usable(endpoints, 1), endpoints, 'nobody: the list itself')
  record(0, 'gateway', 1)
  t.strictSame(left(2), [1, 2])
  t.strictSame(told.ejections, [
    {
      ...{ reason: 'failures in a row', forMs: 10_000, errors: 3, gatewayErrors: 1 },
      ...{ good: 1, total: 6, times: 1, ejected: 1, endpoints: 3 },
    },
  ])
  t.equal(detector.usable(endpoints, 2), detector.usable(endpoints, 3), 'one list')
  t.strictSame(left(10_000), [1, 2])
  t.strictSame(left(10_001), [0, 1, 2], 'back after the base time')
})

t.test('gateway errors have a count of their own', async (t) => {
  const { record, left, told } = setUp(3, {
    consecutiveErrors: 0,
    consecutiveGatewayErrors: 2,
  })
  record(0, 'error', 1, 50)
  record(0, 'gateway', 1)
  record(0, 'error', 1)
  record(0, 'gateway', 1)
  t.strictSame(left(1), [0, 1, 2])
  record(0, 'gateway', 1)
  t.strictSame(left(1), [1, 2])
  t.match(told.ejections, [{ reason: 'gateway failures in a row', gatewayErrors: 2 }])
})

t.test('the n-th ejection lasts n times as long, up to the maximum', async (t) => {
  const { record, left } = setUp(3)
  record(0, 'error', 0, 3)
  t.strictSame(left(9999), [1, 2])
  record(0, 'error', 10_000, 3)
  t.strictSame(left(29_999), [1, 2], 'twice')
  t.strictSame(left(30_000), [0, 1, 2])
  record(0, 'error', 30_000, 3)
  t.strictSame(left(54_999), [1, 2])
  t.strictSame(left(55_000), [0, 1, 2], 'not three times: 25 s')
  // An interval in order takes one back: after three of them it is the first again.
  for (let at = 56_001; at < 61_000; at += 1001) record(1, 'good', at)
  record(0, 'error', 61_000, 3)
  t.strictSame(left(70_999), [1, 2])
  t.strictSame(left(71_000), [0, 1, 2])
})

t.test('no more than the share, of two or more always one, of one none', async (t) => {
  const half = setUp(4)
  for (const i of [0, 1, 2]) half.record(i, 'error', 1, 3)
  t.strictSame(half.left(2), [2, 3])
  const few = setUp(3, { maxEjectedPercent: 10 })
  for (const i of [0, 1, 2]) few.record(i, 'error', 1, 3)
  t.strictSame(few.left(2), [1, 2])
  const single = setUp(1)
  single.record(0, 'error', 1, 30)
  t.strictSame(single.left(2), [0])
})

t.test('panic: too few left is nobody ejected', async (t) => {
  const { record, left, told } = setUp(4, {
    maxEjectedPercent: 100,
    panicPercent: 50,
  })
  record(0, 'error', 1, 3)
  record(1, 'error', 1, 3)
  t.strictSame(left(2), [2, 3], 'half is enough')
  record(2, 'error', 5000, 3)
  t.strictSame(left(5000), [0, 1, 2, 3])
  t.equal(told.panics, 1)
  t.strictSame(left(10_001), [0, 1, 3], 'over when enough are back')
})

t.test('success rate: far below the others', async (t) => {
  const successRate = { minEndpoints: 5, minRequests: 20, deviationsPercent: 190 }
  const { record, left, told } = setUp(6, { consecutiveErrors: 0, successRate })
  const load = (atMs: number): void => {
    for (let i = 0; i < 6; i++) {
      record(i, 'good', atMs, 15)
      record(i, i === 2 ? 'error' : 'good', atMs, 5)
    }
  }
  load(1)
  t.strictSame(left(2), [0, 1, 2, 3, 4, 5], 'not before the interval is over')
  record(0, 'good', 1002)
  t.strictSame(left(1003), [0, 1, 3, 4, 5])
  t.match(told.ejections, [{ reason: 'success rate', good: 15, total: 20 }])
  const few = setUp(4, { consecutiveErrors: 0, successRate })
  for (let i = 0; i < 4; i++) few.record(i, i === 2 ? 'error' : 'good', 1, 100)
  few.record(0, 'good', 1002)
  t.strictSame(few.left(1003), [0, 1, 2, 3], 'too few to compare')
})

t.test('a new rule is in force at once; none is no ejection', async (t) => {
  const { record, left, detector, told } = setUp(2)
  record(0, 'error', 1, 3)
  t.strictSame(left(2), [1])
  detector.update(undefined)
  t.equal(told.lifted, 1)
  t.strictSame(left(2), [0, 1])
  record(1, 'error', 2, 30)
  t.strictSame(left(2), [0, 1])
  // When there is one again, it begins with everybody.
  detector.update(OutlierEjection.fromPartial(base))
  record(1, 'error', 3, 3)
  t.strictSame(left(4), [0])
  t.equal(told.lifted, 1)
})

t.test('what an answer says', async (t) => {
  const http = [200, 404, 500, 501, 502, 503, 504].map(resultOfStatus)
  t.strictSame(http.join(' '), 'good good error error gateway gateway gateway')
  const grpc = [0, 1, 2, 4, 5, 7, 13, 14, 15].map(resultOfGrpcStatus)
  t.strictSame(grpc.join(' '), 'good good error gateway good good error gateway error')
})
