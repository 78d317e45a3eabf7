// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { ancestorsOf, type Ancestor } from '../../src/status/ancestors.ts'

const entry = (
  name: string,
  controllerName: string,
  ...conditions: string[]
): Ancestor<string> => ({
  ancestorRef: { group: '', kind: 'Service', name },
  controllerName,
  conditions,
})
const targets = [
  { group: '', kind: 'Service', name: 'web' },
  { group: '', kind: 'Service', name: 'api' },
]

t.test("others' entries stay where they are, ours follow the targets", async (t) => {
  const before = [
    entry('web', 'theirs', 'x'),
    entry('gone', 'ours', 'x'),
    entry('api', 'ours', 'old'),
  ]
  const after = ancestorsOf(before, targets, true, 'ours', (known) => [...known, 'new'])
  t.same(after, [
    entry('web', 'theirs', 'x'),
    entry('api', 'ours', 'old', 'new'),
    entry('web', 'ours', 'new'),
  ])
})

t.test('without anything to say our entries go', async (t) => {
  const before = [entry('web', 'theirs', 'x'), entry('web', 'ours', 'x')]
  t.same(
    ancestorsOf(before, targets, false, 'ours', () => []),
    [before[0]],
  )
  t.same(
    ancestorsOf(before, 'nonsense', true, 'ours', () => []),
    [before[0]],
  )
})

t.test('the list is bounded', async (t) => {
  const many = Array.from({ length: 40 }, (_, n) => ({
    group: '',
    kind: 'Service',
    name: `s${n}`,
  }))
  t.equal(ancestorsOf([], many, true, 'ours', () => []).length, 16)
})
