// SPDX-License-Identifier: Apache-2.0
// Whatever the order of changes: planned step by step is the same as planned at once.
import { Action, type Resource, type Resources } from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import {
  backendLayout,
  serviceKeyLayout,
  serviceLayout,
  slotKeyLayout,
  slotLayout,
} from '../../src/gen/layout.ts'
import { plan } from '../../src/plan/plan.ts'
import type { PlanContext } from '../../src/plan/context.ts'
import { initialState } from '../../src/plan/state.ts'
import { configuredMaps, keyBytes, type Tables } from '../../src/tables.ts'
import {
  address,
  change,
  endpoint,
  policy,
  resourcesOf,
  servicePort,
} from '../support/resources.ts'

const context: PlanContext = {
  node: 'node-1',
  cgroups: new Map(),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [2n],
  proxyCgroupId: 3n,
}

const small = fc.integer({ min: 1, max: 4 })

const anyResource: fc.Arbitrary<Resource> = fc.oneof(
  fc
    .tuple(small, fc.boolean())
    .map(([id, both]) =>
      servicePort(id, [`10.96.0.${id}`, ...(both ? [`fd00::${id}`] : [])]),
    ),
  fc
    .record({
      service: small,
      host: small,
      weight: small,
      ready: fc.boolean(),
      identity: fc.integer({ min: 300, max: 301 }),
    })
    .map(({ service, host, ...rest }) => endpoint(service, `10.244.0.${host}`, rest)),
  fc
    .tuple(small, small)
    .map(([host, identity]) =>
      address(`10.244.0.${host}`, { identity, node: `node-${identity}` }),
    ),
  fc.tuple(small, small, fc.boolean()).map(([identity, peer, isolated]) =>
    policy(identity, {
      isolated,
      isolationRule: 1,
      entries: [
        { peer, protocol: 6, port: 80, portBits: 16, action: Action.ALLOW, rule: 2 },
      ],
    }),
  ),
)

type Step = { upserts: Resource[]; removals: { kind: string; name: string }[] }

const anyStep: fc.Arbitrary<Step> = fc
  .tuple(fc.array(anyResource, { maxLength: 4 }), fc.array(anyResource, { maxLength: 3 }))
  .map(([upserts, gone]) => ({
    upserts,
    removals: gone.map(({ name, body }) => ({ kind: body?.$case ?? '', name })),
  }))

/** The tables without the numbers that depend on history. */
function normal(tables: Tables) {
  const backendOf = (number: number): string | undefined => {
    const key = Buffer.alloc(4)
    key.writeUInt32LE(number)
    return tables.pl_backends.get(key.toString('latin1'))?.toString('hex')
  }
  const services = [...tables.pl_services].map(([key, value]) => {
    const service = serviceLayout.read(value)
    const { addr, port } = serviceKeyLayout.read(keyBytes(key))
    const slots = Array.from({ length: service.slots }, (_, slot) => {
      const slotKey = slotKeyLayout.write({ set: service.set, slot })
      const found = tables.pl_slots.get(slotKey.toString('latin1'))
      if (found === undefined) throw new Error('a service without its slot')
      const { threshold, primary, alias } = slotLayout.read(found)
      return [threshold, backendOf(primary), backendOf(alias)]
    })
    const { id, l7, failureMode, affinityS } = service
    return [
      Buffer.from(addr).toString('hex'),
      port,
      id,
      l7,
      failureMode,
      affinityS,
      slots,
    ]
  })
  return {
    services: services.sort(),
    slots: tables.pl_slots.size,
    backends: [...tables.pl_backends.values()].map((v) => v.toString('hex')).sort(),
    addresses: [...tables.pl_addresses].sort(),
    subjects: [...tables.pl_subjects].sort(),
    rules: [...tables.pl_rules].sort(),
    cgroups: [...tables.pl_cgroups].sort(),
  }
}

t.test('step by step is the same as at once', async (t) => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 12 }), (steps) => {
      let resources: Resources = resourcesOf()
      let state = initialState()
      let { tables } = plan(resources, context, state)
      for (const { upserts, removals } of steps) {
        const next = change(resources, upserts, removals)
        ;({ tables, state } = plan(next.resources, context, state, next.changes))
        resources = next.resources
      }
      const atOnce = plan(resources, context, initialState()).tables
      const again = plan(resources, context, state).tables
      t.same(normal(tables), normal(atOnce))
      t.equal(again.pl_slots, tables.pl_slots, 'planning again changes nothing')
    }),
    { numRuns: 150 },
  )
})

t.test(
  'a number of a backend never changes while it is used, and never comes back soon',
  async (t) => {
    const seen = new Map<number, string>()
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 12 }), (steps) => {
        seen.clear()
        let resources: Resources = resourcesOf()
        let state = initialState()
        for (const { upserts, removals } of steps) {
          const next = change(resources, upserts, removals)
          const result = plan(next.resources, context, state, next.changes)
          ;({ state } = result)
          resources = next.resources
          for (const [key, value] of result.tables.pl_backends) {
            const number = keyBytes(key).readUInt32LE(0)
            const text = value.toString('hex')
            if (number === 0 || (seen.get(number) ?? text) !== text) return false
            seen.set(number, text)
          }
        }
        return true
      }),
      { numRuns: 100 },
    )
    t.pass('held')
  },
)

const plain = (tables: Tables) =>
  structuredClone(configuredMaps.map((name) => new Map(tables[name])))

t.test('a plan leaves the state before it alone', async (t) => {
  const first = resourcesOf(servicePort(1, ['10.96.0.1']), endpoint(1, '10.244.0.1'))
  const { state } = plan(first, context, initialState())
  const copy = plain(state.tables)
  const next = change(first, [endpoint(1, '10.244.0.2')])
  const a = plan(next.resources, context, state, next.changes)
  const b = plan(next.resources, context, state, next.changes)
  t.same(plain(state.tables), copy)
  t.same(plain(a.tables), plain(b.tables))
  t.ok(backendLayout.size > 0)
})

t.test('families that were not touched are the very same tables', async (t) => {
  const first = resourcesOf(
    servicePort(1, ['10.96.0.1']),
    endpoint(1, '10.244.0.1'),
    address('10.244.0.1'),
  )
  const a = plan(first, context, initialState())
  const next = change(first, [address('10.244.0.2')])
  const b = plan(next.resources, context, a.state, next.changes)
  t.equal(b.tables.pl_services, a.tables.pl_services)
  t.equal(b.tables.pl_cgroups, a.tables.pl_cgroups)
  t.equal(b.tables.pl_rules, a.tables.pl_rules)
  t.equal(b.tables.pl_addresses.size, 2)
})
