// SPDX-License-Identifier: Apache-2.0
import { Acceleration, formatAddress, parseAddress } from '@pillion/contract'
import t from 'tap'
import { addrInfoLayout, addrKeyLayout } from '../../src/gen/layout.ts'
import { plan } from '../../src/plan/plan.ts'
import type { PlanContext } from '../../src/plan/context.ts'
import { initialState } from '../../src/plan/state.ts'
import { keyBytes, type Table } from '../../src/tables.ts'
import { address, change, resourcesOf, workload } from '../support/resources.ts'

const context: PlanContext = {
  node: 'node-1',
  cgroups: new Map(),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [],
  proxyCgroupId: undefined,
}

function view(table: Table): Record<string, { identity: number; flags: number }> {
  return Object.fromEntries(
    [...table].map(([key, value]) => {
      const { addr, prefixLength } = addrKeyLayout.read(keyBytes(key))
      return [`${formatAddress(addr)}/${prefixLength}`, addrInfoLayout.read(value)]
    }),
  )
}

t.test('flags: local, of a node, acceleration by annotation', async (t) => {
  const resources = resourcesOf(
    address('10.244.1.2', { identity: 301 }),
    address('10.244.1.3'),
    address('10.244.2.2', { node: 'node-2' }),
    address('10.245.0.1', { identity: 2, nodeAddress: true }),
    address('10.0.0.0', { identity: 1, node: '', prefixLength: 104 }),
    workload('fast', {
      addresses: [parseAddress('10.244.1.2')],
      acceleration: Acceleration.ON,
    }),
    workload('slow', {
      addresses: [parseAddress('10.244.1.3')],
      acceleration: Acceleration.OFF,
    }),
    workload('host', {
      addresses: [parseAddress('10.245.0.1')],
      acceleration: Acceleration.OFF,
      hostNetwork: true,
    }),
  )
  t.same(view(plan(resources, context, initialState()).tables.pl_addresses), {
    '10.244.1.2/128': { identity: 301, flags: 1 | 8 },
    '10.244.1.3/128': { identity: 300, flags: 1 | 4 },
    '10.244.2.2/128': { identity: 300, flags: 0 },
    '10.245.0.1/128': { identity: 2, flags: 1 | 2 },
    '10.0.0.0/104': { identity: 1, flags: 0 },
  })
})

t.test(
  'a changed annotation changes the flags of an address that did not change',
  async (t) => {
    const addresses = [parseAddress('10.244.1.2')]
    const first = resourcesOf(address('10.244.1.2'), workload('w', { addresses }))
    const a = plan(first, context, initialState())
    t.same(view(a.tables.pl_addresses)['10.244.1.2/128'], { identity: 300, flags: 1 })
    const next = change(first, [
      workload('w', { addresses, acceleration: Acceleration.ON }),
    ])
    const b = plan(next.resources, context, a.state, next.changes)
    t.same(view(b.tables.pl_addresses)['10.244.1.2/128'], { identity: 300, flags: 9 })
  },
)
