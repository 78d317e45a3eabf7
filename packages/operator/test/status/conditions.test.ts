// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { isBad, type Condition } from '../../src/compile/condition.ts'
import type { SubscriberStatus } from '../../src/publish/publisher.ts'
import { objectStatuses, type StatusInput } from '../../src/status/conditions.ts'

const accepted: Condition = {
  type: 'Accepted',
  status: 'True',
  reason: 'Accepted',
  message: '',
}
const holder = (
  node: string,
  role: 'agent' | 'proxy',
  ackedVersion: number,
): SubscriberStatus => ({
  node,
  role,
  connected: true,
  softwareVersion: '0',
  mapLayout: '',
  current: true,
  ackedVersion,
  nack: undefined,
})
const input = (key: string, rest: Partial<StatusInput>): StatusInput => ({
  conditions: new Map([[key, [accepted]]]),
  parents: new Map(),
  errors: [],
  subscribers: [],
  nodes: ['n1', 'n2'],
  publishedIn: new Map([[key, 5]]),
  generations: new Map([[key, 2]]),
  ...rest,
})
const programmed = (key: string, rest: Partial<StatusInput>): Condition | undefined =>
  objectStatuses(input(key, rest))[0]?.conditions.find(
    ({ type }) => type === 'Programmed',
  )

t.test(
  'Programmed counts the nodes where every process concerned holds the version',
  async (t) => {
    const route = 'HTTPRoute/a/b'
    const agents = [holder('n1', 'agent', 5), holder('n2', 'agent', 9)]
    t.match(programmed(route, { subscribers: agents }), {
      status: 'False',
      reason: 'Pending',
      message: 'acknowledged by 0 of 2 nodes; not yet by n1, n2',
    })
    t.match(programmed('NetworkPolicy/a/b', { subscribers: agents }), {
      status: 'True',
      message: 'acknowledged by 2 of 2 nodes',
    })
    const proxies = [holder('n1', 'proxy', 5), holder('n2', 'proxy', 4)]
    t.match(programmed(route, { subscribers: [...agents, ...proxies] }), {
      status: 'False',
      message: 'acknowledged by 1 of 2 nodes; not yet by n2',
    })
    t.match(programmed(route, { nodes: [] }), { status: 'False' })
  },
)

t.test('what is not accepted is not programmed', async (t) => {
  const refused: Condition = { ...accepted, status: 'False', reason: 'Conflicted' }
  const key = 'HTTPRoute/a/b'
  t.equal(programmed(key, { conditions: new Map([[key, [refused]]]) }), undefined)
})

t.test(
  'an invalid object says so, and whether an earlier version is in force',
  async (t) => {
    const error = {
      file: 'f',
      object: 'HTTPRoute a/b',
      key: 'HTTPRoute/a/b',
      field: 'spec.x',
      message: 'missing',
    }
    const held = objectStatuses(input('HTTPRoute/a/b', { errors: [error] }))[0]
    t.match(held?.conditions[0], {
      status: 'False',
      reason: 'Invalid',
      message: 'f: spec.x: missing (the last good version stays in force)',
    })
    t.ok(
      held?.conditions.some(({ type }) => type === 'Programmed'),
      'the last good one is programmed',
    )
    const never = objectStatuses(
      input('x', { conditions: new Map(), generations: new Map(), errors: [error] }),
    )[0]
    t.match(never, {
      observedGeneration: 0,
      conditions: [{ message: 'f: spec.x: missing' }],
    })
  },
)

t.test('the Mesh says which software runs, and with which layout of maps', async (t) => {
  const agents = [
    { ...holder('n1', 'agent', 5), softwareVersion: '0.1.0', mapLayout: 'a40f' },
    { ...holder('n2', 'agent', 5), softwareVersion: '0.1.0', mapLayout: 'b51c' },
  ]
  const proxies = ['n1', 'n2'].map((node) => ({
    ...holder(node, 'proxy', 5),
    softwareVersion: '0.2.0',
  }))
  const subscribers = [...agents, ...proxies]
  const [status] = objectStatuses(input('Mesh//mesh', { subscribers }))
  const ready = status?.conditions.find(({ type }) => type === 'NodesReady')
  t.match(ready, {
    status: 'True',
    message:
      '2 of 2 nodes ready; agent 0.1.0 (maps a40f) on 1; agent 0.1.0 (maps b51c) on 1; proxy 0.2.0 on 2',
  })
})

t.test('missing nodes are named, as many as a message should have', async (t) => {
  const nodes = Array.from({ length: 30 }, (_, i) => `n${String(i).padStart(2, '0')}`)
  const subscribers = nodes.map((node, i) => holder(node, 'agent', i < 15 ? i % 5 : 5))
  const found = programmed('NetworkPolicy/a/b', { nodes, subscribers })
  t.equal(
    found?.message,
    'acknowledged by 15 of 30 nodes; not yet by n00, n01, n02, n03, n04, n05, n06, n07, n08, n09, …',
  )
})

t.test('what does not work on some nodes degrades the Mesh', async (t) => {
  const of = (subscribers: SubscriberStatus[]): Condition | undefined =>
    objectStatuses(input('Mesh//default', { subscribers }))[0]?.conditions.find(
      ({ type }) => type === 'Degraded',
    )
  const text = 'acceleration-auto: CAP_SYS_PTRACE is missing'
  const lacks = { ...holder('n2', 'agent', 5), degraded: [text] }
  const found = of([holder('n1', 'agent', 5), lacks])
  t.match(found, {
    status: 'True',
    reason: 'FeaturesMissing',
    message: `${text} (on 1 of 2 nodes: n2)`,
  })
  t.ok(found && isBad(found))
  const well = of([holder('n1', 'agent', 5), { ...lacks, connected: false }])
  t.match(well, { status: 'False', reason: 'AllFeatures' })
  t.notOk(well && isBad(well))
})
