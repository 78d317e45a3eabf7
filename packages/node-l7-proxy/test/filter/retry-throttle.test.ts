// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { pushbackOf, RetryThrottle } from '../../src/filter/retry-throttle.ts'

t.test('half of the tokens, and back by ratio (gRFC A6)', async (t) => {
  const throttle = new RetryThrottle()
  for (let i = 0; i < 100; i++) throttle.failed()
  t.equal(throttle.allows, true, 'undeclared')
  throttle.update({ maxTokens: 10, tokenMilli: 500 })
  for (let i = 0; i < 4; i++) throttle.failed()
  t.equal(throttle.allows, true, 'six of ten')
  throttle.failed()
  t.equal(throttle.allows, false, 'five of ten')
  throttle.succeeded()
  t.equal(throttle.allows, true, 'five and a half')
  for (let i = 0; i < 1000; i++) throttle.succeeded()
  for (let i = 0; i < 5; i++) throttle.failed()
  t.equal(throttle.allows, false, 'never more than ten')
  throttle.update({ maxTokens: 10, tokenMilli: 500 })
  t.equal(throttle.allows, false, 'the same rule')
  throttle.update({ maxTokens: 20, tokenMilli: 500 })
  t.equal(throttle.allows, true)
})

t.test('grpc-retry-pushback-ms', async (t) => {
  const said = (text: string) => pushbackOf(['grpc-retry-pushback-ms', text])
  t.equal(pushbackOf([]), undefined)
  t.equal(said('0'), 0)
  t.equal(said('250'), 250)
  for (const text of ['-1', '', 'soon', '1.5', '99999999999'])
    t.equal(said(text), 'never', text)
})
