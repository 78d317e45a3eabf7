// SPDX-License-Identifier: Apache-2.0
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import t from 'tap'
import {
  RateLimitRequest,
  RateLimitResponse,
  RateLimitResponse_Code as Code,
} from '../../src/gen/envoy/service/ratelimit/v3/rls.ts'
import { maxAddedHeaders, verdictOf } from '../../src/limit/verdict.ts'
import { answerOf, header } from '../support/rate-limit-service.ts'

const verdict = (answer: Partial<RateLimitResponse>) =>
  verdictOf(RateLimitResponse.encode(answerOf(answer)).finish())

t.test('under the limit: headers for both ways', async (t) => {
  t.strictSame(
    verdict({
      overallCode: Code.OK,
      requestHeadersToAdd: [header('X-Tier', 'gold')],
      responseHeadersToAdd: [
        header('X-RateLimit-Limit', '10'),
        header('Content-Type', 'a/b'),
      ],
    }),
    {
      kind: 'ok',
      requestHeaders: ['x-tier', 'gold'],
      responseHeaders: ['x-ratelimit-limit', '10'],
    },
  )
})

t.test('over the limit: how long, and what the service has to say', async (t) => {
  const reset = (seconds: number, nanos = 0) => ({ seconds, nanos })
  const statuses = [
    { code: Code.OVER_LIMIT, durationUntilReset: reset(2, 500_000_000) },
    { code: Code.OVER_LIMIT, durationUntilReset: undefined },
    { code: Code.OK, durationUntilReset: reset(86_400) },
  ]
  const rawBody = Buffer.from('no')
  const responseHeadersToAdd = [header('content-type', 'text/x')]
  t.strictSame(
    verdict({ overallCode: Code.OVER_LIMIT, statuses, rawBody, responseHeadersToAdd }),
    { kind: 'over', headers: ['content-type', 'text/x'], body: 'no', waitMs: 2500 },
  )
  t.match(verdict({ overallCode: Code.OVER_LIMIT }), { waitMs: 0, body: '' })
  const past = [{ code: Code.OVER_LIMIT, durationUntilReset: reset(-5) }]
  t.match(verdict({ overallCode: Code.OVER_LIMIT, statuses: past }), { waitMs: 0 })
})

t.test('neither, or no answer at all', async (t) => {
  t.strictSame(verdict({}), { kind: 'unknown' })
  t.throws(() => verdictOf(Buffer.from([0x1a, 0xff])))
})

t.test('headers that would break a message, or are not the service’s', async (t) => {
  const bad = [
    ...[':path', 'Host', 'content-length', 'transfer-encoding', 'Connection', 'te'],
    ...['upgrade', 'keep-alive', 'trailer', 'expect', 'x-pillion-reason', '', 'a b'],
  ].map((key) => header(key, '1'))
  const split = [header('x-a', 'b\r\nset-cookie: c'), header('x-a', 'h\0')]
  const wide = [header('x-a', 'Ж')]
  const good = [header('x-a', ' b\tc ')]
  const list = [...bad, ...split, ...wide, ...good]
  t.strictSame(
    verdict({
      overallCode: Code.OK,
      requestHeadersToAdd: [...list, header('grpc-timeout', '1S')],
      responseHeadersToAdd: [...list, header('grpc-status', '0')],
    }),
    { kind: 'ok', requestHeaders: ['x-a', 'b\tc'], responseHeaders: ['x-a', 'b\tc'] },
  )
  const raw = [{ ...header('x-raw', ''), rawValue: Buffer.from('bytes') }]
  t.match(verdict({ overallCode: Code.OK, requestHeadersToAdd: raw }), {
    requestHeaders: ['x-raw', 'bytes'],
  })
  const many = Array.from({ length: 100 }, (_, i) => header(`x-${i}`, '1'))
  const { responseHeaders = [] } = verdict({
    overallCode: Code.OK,
    responseHeadersToAdd: many,
  }) as { responseHeaders?: string[] }
  t.equal(responseHeaders.length, 2 * maxAddedHeaders)
})

// Names may change, numbers never: these are those of Envoy's rls.proto, written by hand.
t.test('field numbers of the protocol', async (t) => {
  const request = new BinaryWriter()
  request.uint32(0x0a).string('shop')
  request.uint32(0x12).fork()
  request.uint32(0x0a).fork()
  request.uint32(0x0a).string('k').uint32(0x12).string('v')
  request.join().join()
  request.uint32(0x18).uint32(3)
  const descriptors = [{ entries: [{ key: 'k', value: 'v' }] }]
  const sent = RateLimitRequest.encode({ domain: 'shop', descriptors, hitsAddend: 3 })
  t.strictSame(Buffer.from(sent.finish()), Buffer.from(request.finish()))

  const answer = new BinaryWriter()
  answer.uint32(0x08).int32(2)
  answer.uint32(0x12).fork()
  answer.uint32(0x08).int32(2)
  // Known to the protocol and not to us: the limit (2) and what is left of it (3).
  answer.uint32(0x12).fork().uint32(0x08).uint32(10).uint32(0x10).int32(1).join()
  answer.uint32(0x18).uint32(0)
  answer.uint32(0x22).fork().uint32(0x08).int64(7).join()
  answer.join()
  answer.uint32(0x1a).fork()
  answer.uint32(0x0a).string('x-a').uint32(0x12).string('1')
  answer.join()
  answer.uint32(0x2a).bytes(Buffer.from('slow down'))
  t.strictSame(verdictOf(answer.finish()), {
    ...{ kind: 'over', headers: ['x-a', '1'], body: 'slow down', waitMs: 7000 },
  })
})
