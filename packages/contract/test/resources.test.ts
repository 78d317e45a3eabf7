// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  applyDelta,
  bucketOf,
  Delta,
  emptyResources,
  kinds,
  type Resource,
} from '../src/index.ts'

const rule = (id: number, text: string): Resource => ({
  name: String(id),
  body: { $case: 'rule', value: { id, text } },
})
const delta = (rest: Partial<Delta>): Delta => ({
  version: 1,
  epoch: 'e',
  full: false,
  upserts: [],
  removals: [],
  replaced: [],
  ...rest,
})

t.test('every kind exists and is empty at first', async (t) => {
  const empty = emptyResources()
  t.same(Object.keys(empty), [...kinds])
  t.ok(kinds.every((kind) => empty[kind].size === 0))
})

t.test('a delta leaves its input alone and shares what it does not name', async (t) => {
  const before = applyDelta(
    emptyResources(),
    delta({ upserts: [rule(1, 'a'), rule(2, 'b')] }),
  ).resources
  const { resources, changes } = applyDelta(
    before,
    delta({ upserts: [rule(3, 'c')], removals: [{ kind: 'rule', name: '1' }] }),
  )
  t.same([...before.rule.keys()], ['1', '2'])
  t.same([...resources.rule.keys()], ['2', '3'])
  t.same([...changes], [['rule', new Set(['1', '3'])]])
  t.equal(resources.endpoint, before.endpoint)
})

t.test('full: what is not named is gone, and is reported as changed', async (t) => {
  const before = applyDelta(
    emptyResources(),
    delta({ upserts: [rule(1, 'a')] }),
  ).resources
  const { resources, changes } = applyDelta(
    before,
    delta({ full: true, upserts: [rule(2, 'b')] }),
  )
  t.same([...resources.rule.keys()], ['2'])
  t.same(changes.get('rule'), new Set(['1', '2']))
})

t.test(
  'replaced buckets: what is not named there is gone, the same is no change',
  async (t) => {
    const before = applyDelta(
      emptyResources(),
      delta({ upserts: [rule(1, 'a'), rule(2, 'b'), rule(3, 'c')] }),
    ).resources
    const [one, two, three] = ['1', '2', '3'].map(bucketOf)
    t.equal(new Set([one, two, three]).size, 3, 'names of three buckets')
    const buckets = [one ?? 0, two ?? 0]
    const { resources, changes } = applyDelta(
      before,
      delta({
        upserts: [rule(1, 'a')],
        replaced: [
          { kind: 'rule', buckets },
          { kind: 'future', buckets },
        ],
      }),
    )
    t.same([...resources.rule.keys()], ['1', '3'])
    t.equal(resources.rule.get('1'), before.rule.get('1'), 'the value that was held')
    t.same([...changes], [['rule', new Set(['2'])]])
    const other = applyDelta(
      before,
      delta({
        upserts: [rule(1, 'A')],
        replaced: [{ kind: 'rule', buckets: [one ?? 0] }],
      }),
    )
    t.same([...other.changes], [['rule', new Set(['1'])]])
    t.equal(other.resources.rule.get('1')?.text, 'A')
    t.equal(other.resources.rule.size, 3)
  },
)

t.test(
  'what a newer operator sends is skipped, what has no name is refused',
  async (t) => {
    const { changes } = applyDelta(
      emptyResources(),
      delta({
        upserts: [{ name: 'x', body: undefined }],
        removals: [{ kind: 'future', name: 'x' }],
      }),
    )
    t.equal(changes.size, 0)
    t.throws(() =>
      applyDelta(emptyResources(), delta({ upserts: [{ name: '', body: undefined }] })),
    )
  },
)

t.test('a delta survives the wire', async (t) => {
  const sent = delta({ full: true, upserts: [rule(7, 'seven')] })
  t.same(Delta.decode(Delta.encode(sent).finish()), sent)
})
