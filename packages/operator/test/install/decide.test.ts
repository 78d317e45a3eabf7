// SPDX-License-Identifier: Apache-2.0
// One node at a time, only on good health, and not a step after a failure.
import t from 'tap'
import {
  decideRemoval,
  decideRollout,
  rolloutLimits,
  type NodePod,
  type RolloutState,
} from '../../src/install/decide.ts'

const pod = (node: string, revision: string, change: Partial<NodePod> = {}): NodePod => ({
  ...{ name: `p-${node}-${revision}`, uid: `u-${node}-${revision}`, node, revision },
  ...{ isReady: true, isDeleting: false, trouble: undefined, failure: undefined },
  ...{ wellMs: 60_000, seenMs: 60_000, ...change },
})

const decide = (pods: readonly NodePod[], change: Partial<RolloutState> = {}) =>
  decideRollout(
    { revision: 'new', isObserved: true, total: 3, halt: undefined, ...change, pods },
    rolloutLimits,
  )

/** The nodes whose pods are replaced, or the kind of the action. */
const step = (...given: Parameters<typeof decide>): string => {
  const action = decide(...given)
  return action.kind === 'replace'
    ? action.pods.map(({ node }) => node).join()
    : action.kind
}

t.test('one after the other, by name', async (t) => {
  const old = [pod('c', 'old'), pod('a', 'old'), pod('b', 'old')]
  t.equal(step(old), 'a')
  t.equal(step([pod('a', 'new'), pod('b', 'old'), pod('c', 'old')]), 'b')
  t.equal(step([pod('a', 'new'), pod('b', 'new'), pod('c', 'new')]), 'done')
})

t.test('waits for health, and for it to last', async (t) => {
  const rest = [pod('b', 'old'), pod('c', 'old')]
  const waits = (change: Partial<NodePod>, message: RegExp): unknown =>
    t.match(decide([pod('a', 'new', change), ...rest]), { kind: 'wait', message })
  waits({ isReady: false }, /a is not ready/)
  waits({ trouble: 'its proxy is not connected' }, /a: its proxy is not connected/)
  waits({ wellMs: rolloutLimits.settleMs - 1 }, /a: was not well for long enough/)
  t.match(decide(rest), { kind: 'wait', message: '1 pods are being made' })
  const leaving = pod('a', 'old', { isDeleting: true })
  t.match(decide([leaving, ...rest]), { message: 'a is stopping' })
  t.match(decide(rest, { isObserved: false }), { kind: 'wait' })
})

t.test('halts at a failure, and stays so', async (t) => {
  const rest = [pod('b', 'old'), pod('c', 'old')]
  const slow = { isReady: false, seenMs: rolloutLimits.timeoutMs }
  const halt = { revision: 'new', node: 'a' }
  t.match(decide([pod('a', 'new', slow), ...rest]), { kind: 'halt', halt, isNew: true })
  const broken = pod('a', 'new', { failure: 'container agent ended 3 times', seenMs: 1 })
  t.match(decide([broken, ...rest]), {
    halt: { message: 'a: container agent ended 3 times' },
  })
  const known = { ...halt, message: 'm' }
  t.match(
    decide([pod('a', 'new'), ...rest], { halt: known }),
    { kind: 'halt', isNew: false },
    'also when the node has recovered: nobody said why it failed',
  )
  t.equal(
    step([pod('a', 'new'), pod('b', 'new'), pod('c', 'new')], { halt: known }),
    'done',
    'nothing is left to be halted',
  )
})

t.test('another revision goes on, the broken node first', async (t) => {
  const broken = pod('b', 'new', { isReady: false, failure: 'x' })
  const halt = { revision: 'new', node: 'b', message: 'm' }
  const pods = [pod('a', 'old'), broken, pod('c', 'old')]
  t.equal(step(pods, { halt }), 'halt')
  t.equal(step(pods, { halt, revision: 'newer' }), 'b')
  t.equal(step(pods, { halt, revision: 'old' }), 'b', 'a downgrade is the same')
})

t.test('a node that joins in no roll-out halts nothing', async (t) => {
  const joining = pod('c', 'new', { isReady: false, seenMs: 10 ** 7 })
  t.match(decide([pod('a', 'new'), pod('b', 'new'), joining]), { kind: 'wait' })
})

t.test('removal: all at once, until every node that exists is clean', async (t) => {
  const remove = (pods: readonly NodePod[], nodes = ['a', 'b'], total = nodes.length) =>
    decideRemoval({
      revision: 'gone',
      isObserved: true,
      total,
      pods,
      nodes: new Set(nodes),
    })
  t.match(remove([pod('a', 'old'), pod('b', 'old')]), {
    kind: 'replace',
    pods: [{ node: 'a' }, { node: 'b' }],
  })
  const clean = pod('a', 'gone')
  t.match(remove([clean]), { kind: 'wait', message: '1 of 2 nodes are clean' })
  const stuck = pod('b', 'gone', { isReady: false, failure: 'EPERM' })
  t.match(remove([clean, stuck]), { kind: 'wait', message: /b: EPERM/ })
  t.match(
    remove([clean, pod('b', 'old', { isDeleting: true })]),
    { kind: 'wait', message: /b is stopping/ },
    'its programs may still be there',
  )
  t.match(remove([clean, pod('b', 'gone')]), { kind: 'done' })
  t.match(
    remove([clean, pod('b', 'old', { isDeleting: true })], ['a'], 2),
    { kind: 'done' },
    'a node that is gone does not block',
  )
})
