// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { encodeMessage, grpcStatus, isGrpc, statusNumber } from '../../src/grpc/status.ts'
import { formatGrpcTimeout, parseGrpcTimeout } from '../../src/grpc/timeout-header.ts'
import { toTrailers } from '../../src/grpc/trailers.ts'

t.test('recognised by content-type, grpc-web not', async (t) => {
  for (const type of [
    'application/grpc',
    'application/grpc+proto',
    'application/grpc;charset=x',
  ]) {
    t.ok(isGrpc(['content-type', type]), type)
  }
  t.notOk(isGrpc(['content-type', 'application/grpc-web']))
  t.notOk(isGrpc([]))
})

t.test('status and message', async (t) => {
  t.equal(statusNumber('UNAVAILABLE'), 14)
  t.equal(statusNumber('deadline-exceeded'), 4)
  t.throws(() => statusNumber('x'), /"x"/)
  t.equal(grpcStatus(['grpc-status', '5']), 5)
  t.equal(grpcStatus(['grpc-status', 'x']), undefined)
  t.equal(encodeMessage('50% of ü\n'), '50%25 of %C3%BC%0A')
})

t.test('timeouts', async (t) => {
  t.equal(parseGrpcTimeout('100m'), 100)
  t.equal(parseGrpcTimeout('2H'), 7_200_000)
  t.equal(parseGrpcTimeout('5n'), 1)
  t.equal(parseGrpcTimeout('123456789m'), undefined)
  t.equal(parseGrpcTimeout('1'), undefined)
  t.equal(formatGrpcTimeout(12.3), '13m')
  t.equal(formatGrpcTimeout(200_000_000), '200000S')
})

t.test('trailers keep repeated names and lose pseudo fields', async (t) => {
  t.strictSame(toTrailers(['a', '1', 'b', '2', 'a', '3', ':status', '200']), {
    a: ['1', '3'],
    b: '2',
  })
})
