// SPDX-License-Identifier: Apache-2.0
import { parseAddress } from '@pillion/contract'
import { initialState, plan, serviceLayout, tableKey } from '@pillion/ebpf-l4'
import t from 'tap'
import { differences, toJson } from '../src/dump.ts'
import { resourcesOf, shop } from './support/resources.ts'

t.test('readable JSON', async (t) => {
  const value = {
    addresses: [parseAddress('fd00::1')],
    bytes: Buffer.from('abcd', 'hex'),
    comm: Buffer.from('nginx\0\0\0\0\0\0\0\0\0\0\0'),
    map: new Map([['a', 1n]]),
    nothing: null,
  }
  t.same(JSON.parse(toJson(value)), {
    ...{ addresses: ['fd00::1'], bytes: 'abcd', comm: 'nginx' },
    ...{ map: { a: '1' }, nothing: null },
  })
})

t.test('differences of wanted and actual maps', async (t) => {
  const context = {
    ...{ node: 'node-1', cgroups: new Map(), nodeCgroupId: 1n },
    ...{ kubepodsCgroupIds: [], proxyCgroupId: undefined },
  }
  const { tables: want } = plan(resourcesOf(shop), context, initialState())
  t.same(differences(want, want), [])
  const cgroups = new Map(want.pl_cgroups)
  const services = new Map(want.pl_services)
  const [first = '', second = ''] = services.keys()
  services.delete(first)
  services.set(second, Buffer.alloc(serviceLayout.size))
  const extra = Buffer.alloc(8, 1)
  cgroups.set(tableKey(extra), Buffer.alloc(8))
  const found = differences(want, { ...want, pl_services: services, pl_cgroups: cgroups })
  t.same(found.map(({ map, problem }) => `${map} ${problem}`).sort(), [
    'pl_cgroups extra',
    'pl_services different',
    'pl_services missing',
  ])
})
