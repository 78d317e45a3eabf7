// SPDX-License-Identifier: Apache-2.0
// What a filter may do to a header.
import t from 'tap'
import {
  applyEdits,
  EditableHeaders,
  maxEdits,
  maxValueLength,
} from '../../src/extension/fields.ts'

const sample = (): string[] => ['accept', 'a', 'x-a', '1', 'accept', 'b']

t.test('reads without regard to case, in order', async (t) => {
  const headers = new EditableHeaders(sample())
  t.equal(headers.get('Accept'), 'a')
  t.strictSame(headers.getAll('ACCEPT'), ['a', 'b'])
  t.equal(headers.get('x-b'), undefined)
  t.equal(headers.has('X-A'), true)
  t.strictSame(
    [...headers],
    [
      ['accept', 'a'],
      ['x-a', '1'],
      ['accept', 'b'],
    ],
  )
})

t.test(
  'what a filter sees of its changes is what applyEdits makes of the original',
  async (t) => {
    const copy = sample()
    const headers = new EditableHeaders(copy)
    headers.set('Accept', 'c')
    headers.append('x-a', '2')
    headers.append('X-New', '')
    headers.remove('x-none')
    headers.set('x-none', 'now')
    headers.remove('accept')
    const original = sample()
    applyEdits(original, headers.edits)
    t.strictSame(original, ['x-a', '1', 'x-a', '2', 'x-new', '', 'x-none', 'now'])
    t.strictSame(copy, original)
  },
)

t.test('names of framing, of routing and of the mesh cannot be changed', async (t) => {
  const names = [
    ...[':path', ':status', 'Connection', 'Transfer-Encoding', 'content-length', 'Host'],
    ...['te', 'upgrade', 'keep-alive', 'expect', 'trailer', 'x-forwarded-for'],
    ...['x-pillion-reason', 'x-envoy-retry-on', 'a b', '', 'a:b', 'a\n', 'ä'],
  ]
  for (const name of names) {
    const headers = new EditableHeaders(sample())
    t.throws(() => headers.set(name, 'x'), TypeError, `set ${name}`)
    t.throws(() => headers.append(name, 'x'), TypeError, `append ${name}`)
    t.throws(() => headers.remove(name), TypeError, `remove ${name}`)
    t.strictSame(headers.edits, [])
  }
})

t.test('values cannot end a field', async (t) => {
  const headers = new EditableHeaders([])
  for (const value of ['a\r\nb: c', 'a\n', '\0', ' a', 'a ', 'ä', '\x7f', 'a\tb\r'])
    t.throws(() => headers.set('x-a', value), TypeError, JSON.stringify(value))
  t.throws(() => headers.set('x-a', 1 as unknown as string), /visible ASCII/)
  t.throws(() => headers.set('x-a', 'v'.repeat(maxValueLength + 1)), /longer than/)
  headers.set('x-a', 'v'.repeat(maxValueLength))
  headers.set('x-a', 'a\tb c')
  t.equal(headers.get('x-a'), 'a\tb c')
})

t.test('changes are bounded', async (t) => {
  const headers = new EditableHeaders([])
  for (let i = 0; i < maxEdits; i++) headers.append('x-a', String(i))
  t.throws(() => headers.append('x-a', 'more'), /64 changes/)
})
