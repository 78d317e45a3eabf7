// SPDX-License-Identifier: Apache-2.0
// PURE. Resources of a node -> what its maps should hold.
import { placeOf, type Changes, type Kind, type Resources } from '@pillion/contract'
import type { Tables } from '../tables.ts'
import { planAddresses } from './addresses.ts'
import { planCgroups } from './cgroups.ts'
import type { PlanContext } from './context.ts'
import { planPolicy } from './policy.ts'
import { planServices } from './services.ts'
import { nothingAdopted, type PlanState } from './state.ts'

/**
 * The tables for `resources`. `changes` are the names that differ from `state.resources`; without it everything is looked
 * at. Numbers and generations go on from `state` either way, and tables that did not change are the same objects.
 */
export function plan(
  resources: Resources,
  context: PlanContext,
  state: PlanState,
  changes?: Changes,
): { tables: Tables; state: PlanState } {
  const changed = (kind: Kind): Iterable<string> =>
    changes === undefined
      ? new Set([...state.resources[kind].keys(), ...resources[kind].keys()])
      : (changes.get(kind) ?? [])
  // A node that learns its zone sees every service anew; it happens about once in its life.
  const moved = changes?.has('node') === true ? resources.servicePort.keys() : []
  const services = planServices(resources, placeOf(resources, context.node), state, {
    servicePorts: [...changed('servicePort'), ...moved],
    endpoints: changed('endpoint'),
  })
  const tables: Tables = {
    ...services.tables,
    ...planPolicy(resources, state, changed('subjectPolicy')),
    pl_addresses: planAddresses(resources, context.node, state, {
      addresses: changed('address'),
      workloadsChanged: changes === undefined || changes.has('workload'),
    }),
    pl_cgroups: planCgroups(resources, context, state.tables.pl_cgroups),
  }
  return {
    tables,
    state: { ...services.state, resources, tables, adopted: nothingAdopted },
  }
}
