// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { workloadLayout } from '../../src/gen/layout.ts'
import { plan } from '../../src/plan/plan.ts'
import type { PlanContext } from '../../src/plan/context.ts'
import { initialState } from '../../src/plan/state.ts'
import { keyBytes } from '../../src/tables.ts'
import { resourcesOf, workload } from '../support/resources.ts'

const context: PlanContext = {
  node: 'node-1',
  cgroups: new Map([
    ['uid-known', { id: 100n }],
    ['uid-unnumbered', { id: 101n }],
    ['uid-stranger', { id: 102n }],
  ]),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [2n],
  proxyCgroupId: 3n,
}

t.test('who runs where; a pod without a number stays unmanaged', async (t) => {
  const resources = resourcesOf(
    workload('known', { identity: 310 }),
    workload('unnumbered', { identity: 0 }),
    workload('without-cgroup', { identity: 311 }),
  )
  const { pl_cgroups } = plan(resources, context, initialState()).tables
  const view = [...pl_cgroups].map(([key, value]) => [
    keyBytes(key).readBigUInt64LE(0),
    workloadLayout.read(value),
  ])
  t.same(view, [
    [1n, { identity: 2, proxy: 0 }],
    [2n, { identity: 4, proxy: 0 }],
    [100n, { identity: 310, proxy: 0 }],
    [3n, { identity: 2, proxy: 1 }],
  ])
})
