// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { checkedAnswer, maxAnswerLength } from '../../src/extension/answer.ts'

t.test('nothing is no answer', async (t) => {
  t.equal(checkedAnswer(undefined), undefined)
  t.equal(checkedAnswer(null), undefined)
})

t.test('an answer is completed', async (t) => {
  t.strictSame(checkedAnswer({ status: 403, headers: { 'X-Why': 'no' }, body: 'no\n' }), {
    status: 403,
    headers: ['x-why', 'no'],
    body: 'no\n',
    grpcStatus: 7,
  })
  t.match(checkedAnswer({ status: 200 }), { body: '', headers: [], grpcStatus: 0 })
  t.match(checkedAnswer({ status: 503 }), { grpcStatus: 14 })
  t.match(checkedAnswer({ status: 418 }), { grpcStatus: 2 })
  t.match(checkedAnswer({ status: 503, grpcStatus: 8 }), { grpcStatus: 8 })
})

t.test('what cannot be sent is an error that says why', async (t) => {
  for (const [returned, why] of [
    [true, /object/],
    [{}, /200 to 599/],
    [{ status: 101 }, /200 to 599/],
    [{ status: '200' }, /200 to 599/],
    [{ status: 200, body: Buffer.from('x') }, /text/],
    [{ status: 200, body: 'x'.repeat(maxAnswerLength + 1) }, /65536 bytes/],
    [{ status: 200, body: 'ä'.repeat(maxAnswerLength / 2 + 1) }, /65536 bytes/],
    [{ status: 204, body: 'x' }, /no body/],
    [{ status: 200, grpcStatus: 17 }, /0 to 16/],
    [{ status: 200, headers: 'x' }, /must be an object/],
    [{ status: 200, headers: { 'content-length': '1' } }, /framing/],
    [{ status: 200, headers: { 'x-a': 'a\r\nb: c' } }, /visible ASCII/],
    [{ status: 200, headers: { 'x-a': 1 } }, /visible ASCII/],
  ] as const)
    t.throws(() => checkedAnswer(returned), why)
})
