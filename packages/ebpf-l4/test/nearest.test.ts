// SPDX-License-Identifier: Apache-2.0
import { Action, type DirectionPolicy, type PolicyEntry } from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import { judge } from '../src/evaluate.ts'
import { Direction } from '../src/gen/layout.ts'
import { nearest } from '../src/nearest.ts'
import { plan } from '../src/plan/plan.ts'
import { initialState } from '../src/plan/state.ts'
import { policy, resourcesOf } from './support/resources.ts'

const entry = (rule: number, rest: Partial<PolicyEntry>): PolicyEntry => ({
  ...{ peer: 301, protocol: 6, port: 80, portBits: 16, action: Action.ALLOW },
  ...{ rule, ...rest },
})
const isolatedBy = (...entries: PolicyEntry[]): DirectionPolicy => ({
  isolated: true,
  isolationRule: 9,
  entries,
})
const question = { peer: 301, protocol: 6, port: 80 }
const only = { peer: false, protocol: false, port: false }

t.test('same peer, another port: all that the rule allows this peer', (t) => {
  const found = nearest(
    isolatedBy(
      entry(1, { port: 8080 }),
      entry(1, { port: 8082, portBits: 15 }),
      entry(1, { port: 8081 }),
      entry(1, { port: 9000, protocol: 17 }),
      entry(2, { port: 81, peer: 302 }),
    ),
    question,
  )
  t.same(found, {
    ruleId: 1,
    differs: { ...only, port: true },
    peers: [301],
    protocol: 6,
    ports: [{ first: 8080, last: 8083 }],
  })
  t.end()
})

t.test('same port, another peer: everybody whom the rule allows there', (t) => {
  const found = nearest(
    isolatedBy(entry(1, { peer: 302 }), entry(1, { peer: 303 })),
    question,
  )
  t.match(found, { ruleId: 1, differs: { ...only, peer: true }, peers: [302, 303] })
  t.same(found?.ports, [{ first: 80, last: 80 }])
  t.end()
})

t.test('the order of nearness', (t) => {
  const rules: [string, PolicyEntry][] = [
    ['another protocol', entry(1, { protocol: 17 })],
    ['another port, for this peer by name', entry(2, { port: 8080 })],
    ['another peer, on this port by name', entry(3, { peer: 302 })],
    ['another port, for anybody', entry(4, { peer: 0, port: 8080 })],
    [
      'another peer, on any port',
      entry(5, { peer: 302, protocol: 0, port: 0, portBits: 0 }),
    ],
    ['two differences', entry(6, { peer: 302, port: 8080 })],
    ['three differences', entry(7, { peer: 302, port: 8080, protocol: 17 })],
  ]
  rules.forEach(([name], i) => {
    const rest = rules.slice(i).map(([, one]) => one)
    t.equal(nearest(isolatedBy(...rest.reverse()), question)?.ruleId, i + 1, name)
  })
  t.end()
})

t.test('of equals: the peer with most in common, the closest port, the first', (t) => {
  const peers = isolatedBy(entry(1, { peer: 302 }), entry(2, { peer: 303 }))
  t.equal(nearest(peers, question)?.ruleId, 1)
  t.equal(nearest(peers, question, (peer) => (peer === 303 ? 2 : 1))?.ruleId, 2)
  const ports = isolatedBy(entry(1, { port: 443 }), entry(2, { port: 81 }))
  t.equal(nearest(ports, question)?.ruleId, 2)
  t.end()
})

t.test('nothing is near where nothing is allowed, or a deny rule decides', (t) => {
  t.equal(nearest(isolatedBy(), question), undefined)
  const denied = isolatedBy(
    entry(1, { port: 81 }),
    entry(2, { action: Action.DENY, peer: 0, port: 0, portBits: 0 }),
  )
  t.equal(nearest(denied, question), undefined)
  t.match(nearest(denied, { ...question, protocol: 17 }), { ruleId: 1 }, 'not by it')
  t.same(
    nearest(isolatedBy(entry(1, { peer: 302, port: 0, portBits: 0 })), question)?.ports,
    [],
    'every port',
  )
  t.end()
})

t.test('what it says holds: with the differences taken away, the rule allows', (t) => {
  const anyEntry = fc.record({
    peer: fc.constantFrom(0, 301, 302),
    protocol: fc.constantFrom(0, 6, 17),
    port: fc.constantFrom(0, 80, 81, 8080, 65_535),
    portBits: fc.constantFrom(0, 10, 15, 16),
    action: fc.constant(Action.ALLOW),
    rule: fc.integer({ min: 1, max: 4 }),
  })
  let found = 0
  fc.assert(
    fc.property(
      fc.array(anyEntry, { maxLength: 6 }),
      fc.record({
        peer: fc.constantFrom(301, 302, 303),
        protocol: fc.constantFrom(6, 17),
        port: fc.constantFrom(80, 82, 8080, 1),
      }),
      (entries, asked) => {
        const direction = isolatedBy(...entries)
        const { tables } = plan(
          resourcesOf(policy(300, direction)),
          {
            ...{ node: 'n', cgroups: new Map(), nodeCgroupId: 1n },
            ...{ kubepodsCgroupIds: [], proxyCgroupId: undefined },
          },
          initialState(),
        )
        const ask = (one: { peer: number; protocol: number; port: number }) =>
          judge(tables, { subject: 300, direction: Direction.DIRECTION_INGRESS, ...one })
            .allowed
        const near = nearest(direction, asked)
        if (ask(asked) || entries.length === 0) return near === undefined
        if (near === undefined) return false
        found++
        const ports =
          near.ports.length === 0 ? [asked.port] : near.ports.map((r) => r.first)
        const allowed = near.peers.flatMap((peer) =>
          ports.map((port) =>
            ask({
              peer: near.differs.peer ? peer : asked.peer,
              protocol: near.differs.protocol ? near.protocol : asked.protocol,
              port: near.differs.port ? port : asked.port,
            }),
          ),
        )
        // With two differences, not every peer has every port: the pair that it started from is among them.
        const both = near.differs.peer && near.differs.port
        return both ? allowed.includes(true) : !allowed.includes(false)
      },
    ),
    { numRuns: 500, seed: 7 },
  )
  t.ok(found > 100, `${found} refusals had a nearest rule`)
  t.end()
})
