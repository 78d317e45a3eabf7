// SPDX-License-Identifier: Apache-2.0
// Cgroups of this node -> pl_cgroups: the deepest registered ancestor of a process says who it is.
import { ReservedIdentity, type Resources } from '@pillion/contract'
import { workloadLayout } from '../gen/layout.ts'
import { tableKey, type Table } from '../tables.ts'
import { sameOr } from './draft.ts'
import type { PlanContext } from './context.ts'

/** Key of a cgroup in pl_cgroups. */
export function cgroupKey(id: bigint): string {
  const key = Buffer.alloc(8)
  key.writeBigUInt64LE(id)
  return tableKey(key)
}

/** Always planned whole: a node has hundreds of pods, not more. */
export function planCgroups(
  resources: Resources,
  context: PlanContext,
  before: Table,
): Table {
  const table = new Map<string, Buffer>()
  const add = (id: bigint | undefined, identity: number, proxy = 0): void => {
    if (id !== undefined)
      table.set(cgroupKey(id), workloadLayout.write({ identity, proxy }))
  }
  add(context.nodeCgroupId, ReservedIdentity.host)
  for (const id of context.kubepodsCgroupIds) add(id, ReservedIdentity.unmanaged)
  for (const { uid, identity } of resources.workload.values()) {
    // Without a number yet it stays what all of kubepods is: unmanaged.
    if (identity !== ReservedIdentity.any) add(context.cgroups.get(uid)?.id, identity)
  }
  add(context.proxyCgroupId, ReservedIdentity.host, 1)
  return sameOr(before, table)
}
