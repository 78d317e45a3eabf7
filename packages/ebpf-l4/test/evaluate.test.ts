// SPDX-License-Identifier: Apache-2.0
import { Action, type DirectionPolicy, type PolicyEntry } from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import { judge, judgeBoth } from '../src/evaluate.ts'
import { Direction } from '../src/gen/layout.ts'
import { plan } from '../src/plan/plan.ts'
import type { PlanContext } from '../src/plan/context.ts'
import { initialState } from '../src/plan/state.ts'
import type { Tables } from '../src/tables.ts'
import { policy, resourcesOf } from './support/resources.ts'

const context: PlanContext = {
  node: 'n',
  cgroups: new Map(),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [],
  proxyCgroupId: undefined,
}
const tablesOf = (...policies: Parameters<typeof resourcesOf>): Tables =>
  plan(resourcesOf(...policies), context, initialState()).tables

const entry = (rest: Partial<PolicyEntry>): PolicyEntry => ({
  peer: 0,
  protocol: 0,
  port: 0,
  portBits: 0,
  action: Action.ALLOW,
  rule: 1,
  ...rest,
})
const isolatedBy = (...entries: PolicyEntry[]): DirectionPolicy => ({
  isolated: true,
  isolationRule: 9,
  entries,
})
const ingress = { subject: 300, direction: Direction.DIRECTION_INGRESS }
const web = { ...ingress, peer: 301, protocol: 6, port: 80 }

t.test('truth table of one direction', async (t) => {
  const cases: [string, DirectionPolicy | undefined, boolean, number][] = [
    ['no policy allows', undefined, true, 0],
    ['isolation denies', isolatedBy(), false, 9],
    ['an allow for the peer', isolatedBy(entry({ peer: 301 })), true, 1],
    ['an allow for another peer', isolatedBy(entry({ peer: 302 })), false, 9],
    ['any peer', isolatedBy(entry({})), true, 1],
    ['the port', isolatedBy(entry({ port: 80, portBits: 16, protocol: 6 })), true, 1],
    ['another port', isolatedBy(entry({ port: 81, portBits: 16 })), false, 9],
    ['a block that has the port', isolatedBy(entry({ port: 64, portBits: 10 })), true, 1],
    ['a block beside it', isolatedBy(entry({ port: 128, portBits: 10 })), false, 9],
    ['another protocol', isolatedBy(entry({ protocol: 17 })), false, 9],
    [
      'a wide deny beats a narrow allow',
      isolatedBy(
        entry({ peer: 301, port: 80, portBits: 16, protocol: 6 }),
        entry({ action: Action.DENY, rule: 5 }),
      ),
      false,
      5,
    ],
    [
      'deny wins over allow about the very same',
      isolatedBy(entry({ rule: 1 }), entry({ action: Action.DENY, rule: 5 })),
      false,
      5,
    ],
    [
      'a deny without isolation denies only what it names',
      {
        isolated: false,
        isolationRule: 0,
        entries: [entry({ peer: 302, action: Action.DENY, rule: 5 })],
      },
      true,
      0,
    ],
  ]
  for (const [name, direction, allowed, ruleId] of cases) {
    const got = judge(tablesOf(policy(300, direction)), web)
    t.same(got, { allowed, ruleId, direction: Direction.DIRECTION_INGRESS }, name)
  }
})

t.test("both directions; the node's own processes pass ingress", async (t) => {
  const deaf = tablesOf(policy(300, isolatedBy()))
  const mute = tablesOf(policy(301, undefined, isolatedBy()))
  t.match(judgeBoth(deaf, 301, 300, 6, 80), { allowed: false, direction: 1 })
  t.match(judgeBoth(mute, 301, 300, 6, 80), { allowed: false, direction: 2 })
  t.match(judgeBoth(deaf, 300, 301, 6, 80), { allowed: true })
  t.match(judgeBoth(deaf, 2, 300, 6, 80), { allowed: true }, 'host')
  t.match(judgeBoth(deaf, 3, 300, 6, 80), { allowed: false }, 'another node')
  t.match(judgeBoth(deaf, 4, 300, 6, 80), { allowed: false }, 'unmanaged')
})

/** The rule of policy.h in one sentence, without its data structures. */
function naive(policy: DirectionPolicy, peer: number, protocol: number, port: number) {
  const matching = policy.entries.filter(
    (e) =>
      (e.peer === 0 || e.peer === peer) &&
      (e.protocol === 0 || e.protocol === protocol) &&
      port >>> (16 - e.portBits) === e.port >>> (16 - e.portBits),
  )
  if (matching.some(({ action }) => action === Action.DENY)) return false
  return matching.length > 0 || !policy.isolated
}

t.test('agrees with a naive evaluation of the same policy', async () => {
  const anyEntry = fc.record({
    peer: fc.constantFrom(0, 301, 302),
    protocol: fc.constantFrom(0, 6, 17),
    port: fc.integer({ min: 0, max: 65_535 }),
    portBits: fc.constantFrom(0, 1, 4, 10, 15, 16),
    action: fc.constantFrom(Action.ALLOW, Action.DENY),
    rule: fc.integer({ min: 1, max: 9 }),
  })
  const anyPolicy = fc.record({
    isolated: fc.boolean(),
    isolationRule: fc.constant(9),
    entries: fc.array(anyEntry, { maxLength: 6 }),
  })
  fc.assert(
    fc.property(
      anyPolicy,
      fc.constantFrom(301, 302, 303),
      fc.constantFrom(6, 17),
      fc.integer({ min: 0, max: 65_535 }),
      (direction, peer, protocol, port) => {
        const tables = tablesOf(policy(300, direction))
        // A port that some entry names, as often as one at random.
        for (const asked of [port, ...direction.entries.map((e) => e.port)]) {
          const got = judge(tables, { ...ingress, peer, protocol, port: asked })
          if (got.allowed !== naive(direction, peer, protocol, asked)) return false
        }
        return true
      },
    ),
    { numRuns: 500 },
  )
})
