// SPDX-License-Identifier: Apache-2.0
// Whoever reads the maps while they are written finds nothing that leads nowhere.
import { Action, type Resource } from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import { changesPolicy, diff, type Batch } from '../src/diff.ts'
import {
  memberKeyLayout,
  ruleKeyLayout,
  serviceLayout,
  slotKeyLayout,
  slotLayout,
  subjectKeyLayout,
} from '../src/gen/layout.ts'
import { plan } from '../src/plan/plan.ts'
import type { PlanContext } from '../src/plan/context.ts'
import { initialState, type PlanState } from '../src/plan/state.ts'
import {
  configuredMaps,
  emptyTables,
  keyBytes,
  tableKey,
  type ConfiguredMap,
  type Table,
  type Tables,
} from '../src/tables.ts'
import { address, change, endpoint, policy, servicePort } from './support/resources.ts'

const context: PlanContext = {
  node: 'node-1',
  cgroups: new Map(),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [2n],
  proxyCgroupId: 3n,
}

type Removal = { kind: string; name: string }
const step = (state: PlanState, upserts: Resource[], removals: Removal[] = []) => {
  const next = change(state.resources, upserts, removals)
  return plan(next.resources, context, state, next.changes).state
}
const nameOf = ({ name, body }: Resource): Removal => ({ kind: body?.$case ?? '', name })

const closed = policy(300, {
  isolated: true,
  isolationRule: 1,
  entries: [
    { peer: 301, protocol: 6, port: 80, portBits: 16, action: Action.ALLOW, rule: 2 },
  ],
})
const shop = [
  servicePort(1, ['10.96.0.1'], { affinitySeconds: 60 }),
  endpoint(1, '10.244.0.1'),
  address('10.244.0.1'),
  closed,
]

const order = (batches: readonly Batch[]): string[] =>
  batches.map(
    (b) => `${b.set.length > 0 ? '+' : ''}${b.delete.length > 0 ? '-' : ''}${b.map}`,
  )

t.test('what is referred to is written first and removed last', async (t) => {
  const want = step(initialState(), shop).tables
  const forward = order(diff(emptyTables(), want))
  t.same(
    forward,
    configuredMaps.map((map) => `+${map}`),
    'all families are in the example',
  )
  t.same(
    order(diff(want, emptyTables())),
    forward.map((text) => text.replace('+', '-')).reverse(),
  )
  const before = (list: string[], ...names: string[]): boolean => {
    const at = names.map((name) => list.indexOf(name))
    return !at.includes(-1) && at.every((n, i) => i === 0 || n > (at[i - 1] ?? -1))
  }
  t.ok(before(forward, '+pl_backends', '+pl_slots', '+pl_services'))
  t.ok(before(forward, '+pl_rules', '+pl_subjects'))
})

t.test('a change of endpoints: all that is new, before anything goes', async (t) => {
  const have = step(initialState(), shop)
  const want = step(
    have,
    [endpoint(1, '10.244.0.2')],
    [nameOf(endpoint(1, '10.244.0.1'))],
  )
  t.same(order(diff(have.tables, want.tables)), [
    '+pl_backends',
    '+pl_slots',
    '+pl_members',
    '+pl_services',
    '-pl_members',
    '-pl_slots',
    '-pl_backends',
  ])
})

t.test('equal content is no work; a shared table is not even looked at', async (t) => {
  const tables = step(initialState(), shop).tables
  const copy = Object.fromEntries(
    configuredMaps.map((map) => [map, new Map(tables[map])]),
  ) as unknown as Tables
  t.same(diff(tables, copy), [])

  class Untouchable extends Map<string, Buffer> {
    override [Symbol.iterator](): never {
      throw new Error('walked')
    }
    override keys(): never {
      throw new Error('walked')
    }
  }
  const shared: Table = new Untouchable()
  const with_ = (rest: Tables): Tables => ({ ...rest, pl_slots: shared })
  t.same(diff(with_(tables), with_(copy)), [])
  t.throws(() => diff(with_(tables), copy), { message: 'walked' }, 'the trap works')
})

t.test('batches say whether a verdict can change', async (t) => {
  const have = step(initialState(), shop)
  const added = step(have, [endpoint(1, '10.244.0.2')])
  t.notOk(changesPolicy(diff(have.tables, added.tables)))
  const open = step(have, [], [nameOf(closed)])
  t.ok(changesPolicy(diff(have.tables, open.tables)), 'removal')
  t.ok(changesPolicy(diff(open.tables, have.tables)), 'addition')
})

const small = fc.integer({ min: 1, max: 3 })
const anyResource: fc.Arbitrary<Resource> = fc.oneof(
  small.map((id) => servicePort(id, [`10.96.0.${id}`])),
  fc
    .tuple(small, small, small)
    .map(([service, host, weight]) =>
      endpoint(service, `10.244.0.${host}`, { weight, identity: 299 + host }),
    ),
  fc
    .tuple(small, small)
    .map(([host, identity]) => address(`10.244.0.${host}`, { identity })),
  fc.tuple(small, small, fc.boolean()).map(([identity, peer, deny]) =>
    policy(identity, {
      isolated: true,
      isolationRule: 1,
      entries: [
        {
          peer,
          protocol: 6,
          port: 80,
          portBits: 16,
          action: deny ? Action.DENY : Action.ALLOW,
          rule: 2,
        },
      ],
    }),
  ),
)
const anyStep = fc.tuple(
  fc.array(anyResource, { maxLength: 6 }),
  fc.array(anyResource, { maxLength: 4 }),
)

/** What a map holds that is written entry by entry, after each. */
function* states(have: Tables, batches: readonly Batch[]) {
  const now = Object.fromEntries(
    configuredMaps.map((map) => [map, new Map(have[map])]),
  ) as Record<ConfiguredMap, Map<string, Buffer>>
  yield now
  for (const batch of batches) {
    const table = now[batch.map]
    for (const [key, value] of batch.set) {
      table.set(tableKey(key), value)
      yield now
    }
    for (const key of batch.delete) {
      table.delete(tableKey(key))
      yield now
    }
  }
}

const u32Key = (value: number): string => {
  const key = Buffer.alloc(4)
  key.writeUInt32LE(value)
  return tableKey(key)
}

/** Follows every reference that the kernel follows. */
function dangling(tables: Tables): string | undefined {
  for (const value of tables.pl_services.values()) {
    const { id, set, slots } = serviceLayout.read(value)
    for (let slot = 0; slot < slots; slot++) {
      const key = tableKey(slotKeyLayout.write({ set, slot }))
      if (!tables.pl_slots.has(key)) return `slot ${slot} of service ${id}`
    }
  }
  for (const value of tables.pl_slots.values()) {
    const { primary, alias } = slotLayout.read(value)
    for (const number of [primary, alias]) {
      if (!tables.pl_backends.has(u32Key(number))) return `backend ${number}`
    }
  }
  for (const key of tables.pl_members.keys()) {
    const { backend } = memberKeyLayout.read(keyBytes(key))
    if (!tables.pl_backends.has(u32Key(backend))) return `member ${backend}`
  }
  return undefined
}

/** Rules of subjects that are in force, in either world, which are missing now. */
function missingRule(now: Tables, have: Tables, want: Tables): string | undefined {
  for (const [key, value] of now.pl_subjects) {
    const world = want.pl_subjects.get(key)?.equals(value) === true ? want : have
    const { identity, direction } = subjectKeyLayout.read(keyBytes(key))
    for (const rule of world.pl_rules.keys()) {
      const of = ruleKeyLayout.read(keyBytes(rule))
      if (of.subject !== identity || of.direction !== direction) continue
      // In both worlds the subject may look the same while its rules change under it.
      const stays = want.pl_rules.has(rule)
      if (stays && have.pl_rules.has(rule) && !now.pl_rules.has(rule))
        return 'a rule that stays'
      if (!have.pl_subjects.has(key) && stays && !now.pl_rules.has(rule))
        return 'a new rule'
      if (!want.pl_subjects.has(key) && !now.pl_rules.has(rule))
        return 'a rule taken too early'
    }
  }
  return undefined
}

t.test(
  'applied in order it gives what is wanted, and every state between is whole',
  async () => {
    fc.assert(
      fc.property(fc.array(anyStep, { minLength: 1, maxLength: 6 }), (steps) => {
        let state = initialState()
        for (const [upserts, gone] of steps) {
          const have = state.tables
          state = step(state, upserts, gone.map(nameOf))
          const want = state.tables
          let last: Tables = have
          for (const now of states(have, diff(have, want))) {
            const broken = dangling(now) ?? missingRule(now, have, want)
            if (broken !== undefined) throw new Error(`in between: ${broken}`)
            last = now
          }
          for (const map of configuredMaps) {
            const same =
              last[map].size === want[map].size &&
              [...want[map]].every(([key, value]) => last[map].get(key)?.equals(value))
            if (!same) throw new Error(`${map} is not what was wanted`)
          }
        }
      }),
      { numRuns: 200, seed: 7 },
    )
  },
)
