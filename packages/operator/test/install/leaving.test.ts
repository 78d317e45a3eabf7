// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  decodeNames,
  encodeNames,
  maxCleaners,
  planLeaving,
  type Cleaner,
  type LeavingState,
} from '../../src/install/leaving.ts'

const cleaner = (node: string, change: Partial<Cleaner> = {}): Cleaner => ({
  ...{ name: `pillion-clean-${node}`, uid: node, node, revision: 'r' },
  ...{ state: 'working', failure: undefined, ...change },
})
const plan = (change: Partial<LeavingState>) =>
  planLeaving({
    carriers: ['a', 'b'],
    running: new Set(['a']),
    cleaners: [],
    revision: 'r',
    isSelected: (node) => ({ a: true, b: false })[node],
    ...change,
  })

t.test(
  'a node that is left out gets a cleaner, and is forgotten when it is clean',
  async (t) => {
    t.strictSame(plan({}), {
      carriers: ['a', 'b'],
      create: ['b'],
      remove: [],
      left: ['b'],
    })
    const working = cleaner('b')
    t.match(plan({ cleaners: [working] }), { create: [], remove: [], left: ['b'] })
    const stuck = cleaner('b', { failure: 'container uninstall ended 3 times: EPERM' })
    t.strictSame(plan({ cleaners: [stuck] }).left, [
      'b: container uninstall ended 3 times: EPERM',
    ])
    const done = cleaner('b', { state: 'done' })
    t.strictSame(plan({ cleaners: [done] }), {
      ...{ carriers: ['a'], create: [], remove: [done], left: [] },
    })
  },
)

t.test('not while a pod of the mesh is still there', async (t) => {
  const both = { running: new Set(['a', 'b']) }
  t.match(plan(both), { create: [], left: ['b is stopping'] })
  const early = cleaner('b', { state: 'done' })
  const found = plan({ ...both, cleaners: [early] })
  t.match(found, { carriers: ['a', 'b'], remove: [early] }, 'it was clean too early')
})

t.test('where pods run, a datapath may be', async (t) => {
  t.strictSame(plan({ carriers: [] }).carriers, ['a'])
})

t.test('selected again, or gone: nothing is cleaned', async (t) => {
  const working = cleaner('b')
  const again = plan({ cleaners: [working], isSelected: () => true })
  t.strictSame(again, { carriers: ['a', 'b'], create: [], remove: [working], left: [] })
  const gone = plan({
    cleaners: [working],
    isSelected: (node) => (node === 'a' ? true : undefined),
  })
  t.strictSame(gone, { carriers: ['a'], create: [], remove: [working], left: [] })
})

t.test('a cleaner that will not go on is replaced', async (t) => {
  for (const change of [{ state: 'dead' }, { revision: 'older' }] as const) {
    const old = cleaner('b', change)
    t.match(plan({ cleaners: [old] }), { create: [], remove: [old], left: ['b'] })
  }
  const leaving = cleaner('b', { state: 'leaving' })
  t.match(plan({ cleaners: [leaving] }), { create: [], remove: [], left: ['b'] })
})

t.test('no more at once than the limit', async (t) => {
  const carriers = Array.from({ length: maxCleaners + 20 }, (_, i) => `n${i}`)
  const state = { carriers, running: new Set<string>(), isSelected: () => false }
  t.equal(plan(state).create.length, maxCleaners)
  t.equal(plan(state).left.length, maxCleaners + 20)
  const cleaners = carriers.slice(0, 10).map((node) => cleaner(node))
  t.equal(plan({ ...state, cleaners }).create.length, maxCleaners - 10)
})

t.test('names of thousands of nodes fit into an annotation', async (t) => {
  const names = Array.from(
    { length: 5_000 },
    (_, i) => `ip-10-0-${i >> 8}-${i & 255}.ec2.internal`,
  )
  t.strictSame(decodeNames(encodeNames(names)), names)
  t.ok(
    encodeNames(names).length < 100_000,
    `${encodeNames(names).length} bytes of 256 Ki`,
  )
  for (const text of [undefined, '', 'edited', encodeNames([]).slice(0, 9)])
    t.strictSame(decodeNames(text), [])
})
