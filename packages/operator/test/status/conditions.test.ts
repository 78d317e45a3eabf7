// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import type { Condition } from '../../src/compile/condition.ts'
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
      message: 'acknowledged by 0 of 2 nodes',
    })
    t.match(programmed('NetworkPolicy/a/b', { subscribers: agents }), {
      status: 'True',
      message: 'acknowledged by 2 of 2 nodes',
    })
    const proxies = [holder('n1', 'proxy', 5), holder('n2', 'proxy', 4)]
    t.match(programmed(route, { subscribers: [...agents, ...proxies] }), {
      status: 'False',
      message: 'acknowledged by 1 of 2 nodes',
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
