// SPDX-License-Identifier: Apache-2.0
// Addresses -> pl_addresses: who answers where, and whether both ends may be accelerated.
import { Draft, Acceleration, type Address, type Resources } from '@pillion/contract'
import { addrInfoLayout, addrKeyLayout, AddrFlag } from '../gen/layout.ts'
import { tableKey, type Table } from '../tables.ts'
import { replace, type Entries } from './draft.ts'
import type { PlanState } from './state.ts'

/** Plans the named addresses, and those of the named workloads, whose annotation decides about acceleration. */
export function planAddresses(
  resources: Resources,
  node: string,
  state: PlanState,
  changed: { addresses: Iterable<string>; workloadsChanged: boolean },
): Table {
  const table = new Draft(state.tables.pl_addresses)
  const asked = accelerationByAddress(resources)
  const names = new Set(changed.addresses)
  if (changed.workloadsChanged) {
    const before = accelerationByAddress(state.resources)
    for (const [name, { address }] of resources.address) {
      const key = tableKey(address)
      if (asked.get(key) !== before.get(key)) names.add(name)
    }
  }
  replace(
    table,
    [...names].map((name) => entryKeys(state.resources.address.get(name))),
    [...names].map((name) => entries(resources.address.get(name), node, asked)),
  )
  return table.done()
}

function keyOf({ address, prefixLength }: Address): string {
  return tableKey(addrKeyLayout.write({ prefixLength, addr: address }))
}

function entryKeys(address: Address | undefined): Entries {
  return address === undefined ? [] : [[keyOf(address), Buffer.alloc(0)]]
}

function entries(
  address: Address | undefined,
  node: string,
  asked: ReadonlyMap<string, Acceleration>,
): Entries {
  if (address === undefined) return []
  const acceleration = asked.get(tableKey(address.address))
  const flags =
    (address.node === node ? AddrFlag.ADDR_LOCAL : 0) |
    (address.nodeAddress ? AddrFlag.ADDR_NODE : 0) |
    (acceleration === Acceleration.OFF ? AddrFlag.ADDR_ACCEL_OFF : 0) |
    (acceleration === Acceleration.ON ? AddrFlag.ADDR_ACCEL_ON : 0)
  return [[keyOf(address), addrInfoLayout.write({ identity: address.identity, flags })]]
}

/** What pods of this node ask for. A pod in the node's network cannot: the address is not its own. */
function accelerationByAddress(resources: Resources): ReadonlyMap<string, Acceleration> {
  const asked = new Map<string, Acceleration>()
  for (const { acceleration, addresses, hostNetwork } of resources.workload.values()) {
    if (acceleration === Acceleration.UNSPECIFIED || hostNetwork) continue
    for (const address of addresses) asked.set(tableKey(address), acceleration)
  }
  return asked
}
