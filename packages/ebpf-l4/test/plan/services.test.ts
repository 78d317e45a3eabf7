// SPDX-License-Identifier: Apache-2.0
import {
  formatEndpoint,
  L7Protocol,
  FailureMode,
  parseAddress,
  Protocol,
  type Resource,
  type ServicePort,
} from '@pillion/contract'
import t from 'tap'
import {
  backendLayout,
  memberKeyLayout,
  serviceKeyLayout,
  serviceLayout,
  slotKeyLayout,
  slotLayout,
} from '../../src/gen/layout.ts'
import { plan } from '../../src/plan/plan.ts'
import type { PlanContext } from '../../src/plan/context.ts'
import { adoptState, initialState } from '../../src/plan/state.ts'
import { keyBytes, type Tables } from '../../src/tables.ts'
import { change, endpoint, resourcesOf, servicePort } from '../support/resources.ts'

const context: PlanContext = {
  node: 'node-1',
  cgroups: new Map(),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [],
  proxyCgroupId: undefined,
}

/** What a connect to each cluster address may lead to, with its chance; the kernel's own way through the maps. */
function view(tables: Tables): Record<string, Record<string, number>> {
  const out: Record<string, Record<string, number>> = {}
  for (const [key, value] of tables.pl_services) {
    const { addr, port } = serviceKeyLayout.read(keyBytes(key))
    const { set, slots } = serviceLayout.read(value)
    const chances: Record<string, number> = {}
    const add = (number: number, chance: number): void => {
      if (chance === 0) return
      const backend = [...tables.pl_backends].find(
        ([k]) => keyBytes(k).readUInt32LE(0) === number,
      )?.[1]
      if (backend === undefined) throw new Error(`no backend ${number}`)
      const { addr, port } = backendLayout.read(backend)
      const name = formatEndpoint(addr, port)
      chances[name] = (chances[name] ?? 0) + chance
    }
    for (let slot = 0; slot < slots; slot++) {
      const found = tables.pl_slots.get(
        slotKeyLayout.write({ set, slot }).toString('latin1'),
      )
      if (found === undefined) throw new Error('no slot')
      const { threshold, primary, alias } = slotLayout.read(found)
      add(primary, threshold / 2 ** 32 / slots)
      add(alias, (2 ** 32 - threshold) / 2 ** 32 / slots)
    }
    out[formatEndpoint(addr, port)] = chances
  }
  return out
}

function sets(tables: Tables): number[] {
  return [...tables.pl_services.values()].map((v) => serviceLayout.read(v).set)
}

t.test('each family leads to its own endpoints, by weight', async (t) => {
  const resources = resourcesOf(
    servicePort(7, ['10.96.0.1', 'fd00::1']),
    endpoint(7, '10.244.1.2', { weight: 1 }),
    endpoint(7, '10.244.1.3', { weight: 3 }),
    endpoint(7, 'fd00::2'),
  )
  const { tables } = plan(resources, context, initialState())
  t.same(view(tables), {
    '10.96.0.1:80': { '10.244.1.2:8080': 0.25, '10.244.1.3:8080': 0.75 },
    '[fd00::1]:80': { '[fd00::2]:8080': 1 },
  })
  const ids = [...tables.pl_services.values()].map((v) => serviceLayout.read(v).id)
  t.same(ids, [7, 7], 'one service')
})

t.test(
  'not ready is left out; terminating serves only when nothing else does',
  async (t) => {
    const service = servicePort(7, ['10.96.0.1'])
    const dying = endpoint(7, '10.244.1.2', { terminating: true })
    const alive = endpoint(7, '10.244.1.3')
    const down = endpoint(7, '10.244.1.4', { ready: false })
    const of = (...endpoints: (typeof dying)[]) =>
      view(plan(resourcesOf(service, ...endpoints), context, initialState()).tables)
    t.same(of(dying, alive, down), { '10.96.0.1:80': { '10.244.1.3:8080': 1 } })
    t.same(of(dying, down), { '10.96.0.1:80': { '10.244.1.2:8080': 1 } })
    t.same(of(down), { '10.96.0.1:80': {} })
  },
)

t.test('headless and SCTP services are not translated', async (t) => {
  const resources = resourcesOf(
    servicePort(7, []),
    endpoint(7, '10.244.1.2'),
    servicePort(8, ['10.96.0.2'], { protocol: Protocol.SCTP }),
  )
  const { tables } = plan(resources, context, initialState())
  t.equal(tables.pl_services.size, 0)
  t.equal(tables.pl_backends.size, 0)
})

t.test('L7 and failure mode', async (t) => {
  const read = (rest: object): { l7: number; failureMode: number } => {
    const resources = resourcesOf(servicePort(7, ['10.96.0.1'], rest))
    const [value] = plan(resources, context, initialState()).tables.pl_services.values()
    if (value === undefined) throw new Error('no service')
    const { l7, failureMode } = serviceLayout.read(value)
    return { l7, failureMode }
  }
  t.same(read({}), { l7: 0, failureMode: 0 })
  t.same(read({ l7Protocol: L7Protocol.HTTP }), { l7: 1, failureMode: 1 })
  t.same(read({ l7Protocol: L7Protocol.GRPC, failureMode: FailureMode.REJECT }), {
    l7: 1,
    failureMode: 2,
  })
})

t.test('the set changes with the slots and only with them', async (t) => {
  const first = resourcesOf(servicePort(7, ['10.96.0.1']), endpoint(7, '10.244.1.2'))
  const a = plan(first, context, initialState())
  const same = change(first, [endpoint(7, '10.244.1.2', { version: 'v2' })])
  const b = plan(same.resources, context, a.state, same.changes)
  t.same(sets(b.tables), sets(a.tables))
  t.equal(b.tables.pl_slots, a.tables.pl_slots, 'the very same table')
  const more = change(same.resources, [endpoint(7, '10.244.1.3')])
  const c = plan(more.resources, context, b.state, more.changes)
  t.not(sets(c.tables)[0], sets(b.tables)[0])
  const setsOfSlots = new Set(
    [...c.tables.pl_slots.keys()].map((k) => slotKeyLayout.read(keyBytes(k)).set),
  )
  t.same([...setsOfSlots], sets(c.tables), 'old slots are gone')
})

t.test(
  'a cluster address that moves to another service in one delta stays',
  async (t) => {
    const first = resourcesOf(servicePort(7, ['10.96.0.1']), endpoint(7, '10.244.1.2'))
    const a = plan(first, context, initialState())
    const moved = change(
      first,
      [servicePort(9, ['10.96.0.1']), endpoint(9, '10.244.1.9')],
      [
        { kind: 'servicePort', name: 'shop/s7:80/TCP' },
        { kind: 'endpoint', name: 'shop/s7:80/TCP|10.244.1.2:8080' },
      ],
    )
    for (const changes of [moved.changes, undefined]) {
      const { tables } = plan(moved.resources, context, a.state, changes)
      t.same(view(tables), { '10.96.0.1:80': { '10.244.1.9:8080': 1 } })
      t.equal(tables.pl_backends.size, 1)
    }
  },
)

t.test('an agent that starts anew goes on with the numbers in the kernel', async (t) => {
  const before = resourcesOf(
    servicePort(7, ['10.96.0.1']),
    endpoint(7, '10.244.1.2'),
    endpoint(7, '10.244.1.3'),
  )
  const kernel = plan(before, context, initialState()).tables
  t.same(plan(before, context, adoptState(kernel)).tables, kernel, 'nothing to write')

  const after = resourcesOf(servicePort(7, ['10.96.0.1']), endpoint(7, '10.244.1.4'))
  const { tables } = plan(after, context, adoptState(kernel))
  for (const key of tables.pl_backends.keys()) t.notOk(kernel.pl_backends.has(key))
  for (const key of tables.pl_slots.keys()) t.notOk(kernel.pl_slots.has(key))
})

t.test('a node that learns its zone sees hinted services anew', async (t) => {
  const own = (zone: string): Resource => ({
    name: 'node-1',
    body: { $case: 'node', value: { name: 'node-1', zone } },
  })
  const first = resourcesOf(
    own(''),
    servicePort(7, ['10.96.0.1']),
    endpoint(7, '10.244.1.2', { hintZones: ['zone-a'] }),
    endpoint(7, '10.244.2.2', { hintZones: ['zone-b'] }),
  )
  const a = plan(first, context, initialState())
  const both = { '10.244.1.2:8080': 0.5, '10.244.2.2:8080': 0.5 }
  t.same(view(a.tables), { '10.96.0.1:80': both })
  const moved = change(first, [own('zone-b')])
  const b = plan(moved.resources, context, a.state, moved.changes)
  t.same(view(b.tables), { '10.96.0.1:80': { '10.244.2.2:8080': 1 } })
})

t.test(
  'node ports and external addresses see all endpoints, whatever the policy',
  async (t) => {
    const here = endpoint(7, '10.244.1.2', { node: 'node-1' })
    const there = endpoint(7, '10.244.2.2', { node: 'node-2' })
    const rest = {
      externalAddresses: [parseAddress('192.0.2.7')],
      nodePort: 30007,
      localOnly: true,
    }
    const of = (...endpoints: Resource[]) =>
      view(
        plan(
          resourcesOf(servicePort(7, ['10.96.0.1'], rest), ...endpoints),
          context,
          initialState(),
        ).tables,
      )
    const all = { '10.244.1.2:8080': 0.5, '10.244.2.2:8080': 0.5 }
    t.same(of(here, there), {
      '10.96.0.1:80': { '10.244.1.2:8080': 1 },
      '192.0.2.7:80': all,
      '0.0.0.0:30007': all,
    })
    t.same(of(there), {
      '10.96.0.1:80': {},
      '192.0.2.7:80': { '10.244.2.2:8080': 1 },
      '0.0.0.0:30007': { '10.244.2.2:8080': 1 },
    })
  },
)

t.test('addresses with the same endpoints share their slots', async (t) => {
  const resources = resourcesOf(
    servicePort(7, ['10.96.0.1'], {
      externalAddresses: [parseAddress('192.0.2.7')],
      nodePort: 30007,
    }),
    endpoint(7, '10.244.1.2'),
  )
  const { tables } = plan(resources, context, initialState())
  t.equal(tables.pl_services.size, 3)
  t.equal(tables.pl_slots.size, 1)
})

t.test('members of a set: of services that remember their clients', async (t) => {
  const of = (rest: Partial<ServicePort>) =>
    plan(
      resourcesOf(
        servicePort(7, ['10.96.0.1'], rest),
        endpoint(7, '10.244.1.2'),
        endpoint(7, '10.244.1.3'),
        endpoint(7, '10.244.1.4', { terminating: true }),
      ),
      context,
      initialState(),
    ).tables
  t.equal(of({}).pl_members.size, 0)
  t.equal(of({ protocol: Protocol.UDP }).pl_members.size, 2)
  const tables = of({ affinitySeconds: 60 })
  t.equal(tables.pl_members.size, 2, 'the one that terminates gets nobody new')
  t.equal(tables.pl_backends.size, 3, 'but is known while it answers')
  const [service] = [...tables.pl_services.values()].map((v) => serviceLayout.read(v))
  t.equal(service?.affinityS, 60)
  for (const key of tables.pl_members.keys())
    t.equal(memberKeyLayout.read(keyBytes(key)).set, service?.set)
})

t.test('a number that a set still has is not given to another', async (t) => {
  const first = resourcesOf(servicePort(7, ['10.96.0.1']), endpoint(7, '10.244.1.2'))
  const a = plan(first, context, initialState())
  const more = change(first, [servicePort(9, ['10.96.0.9']), endpoint(9, '10.244.1.9')])
  const wrapped = { ...a.state, nextSet: sets(a.tables)[0] ?? 0 }
  const b = plan(more.resources, context, wrapped, more.changes)
  t.equal(new Set(sets(b.tables)).size, 2)
})
