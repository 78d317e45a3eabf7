// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { errorText } from '../../src/extension/error-text.ts'

t.test('the stack, or whatever there is', (t) => {
  t.match(errorText(new Error('why')), /^Error: why\n.*error-text/s)
  t.equal(errorText(Object.assign(new Error('why'), { stack: undefined })), 'why')
  t.equal(errorText('why'), 'why')
  t.equal(errorText(undefined), 'undefined')
  t.equal(errorText(Symbol('why')), 'Symbol(why)')
  t.end()
})

t.test('always a text', (t) => {
  const odd = Object.assign(new Error('why'), { stack: { a: 1 } })
  t.equal(errorText(odd), '[object Object]')
  const throwing = Object.defineProperty(new Error('why'), 'stack', {
    get: () => {
      throw new Error('not this')
    },
  })
  const none = 'an error that cannot be made a text'
  t.equal(errorText(throwing), none)
  t.equal(errorText(Object.create(null)), none)
  t.equal(errorText({ toString: 1 }), none)
  t.end()
})
