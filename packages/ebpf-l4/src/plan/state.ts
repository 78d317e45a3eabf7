// SPDX-License-Identifier: Apache-2.0
// What plan remembers from one call to the next. Immutable: a plan that could not be applied is thrown away.
import { emptyResources, type Resources } from '@pillion/contract'
import { serviceLayout, slotKeyLayout } from '../gen/layout.ts'
import { emptyTables, keyBytes, tableKey, type Tables } from '../tables.ts'
import type { Entries } from './draft.ts'

/** A number of pl_backends and how many services use it. */
export interface BackendNumber {
  readonly number: number
  readonly uses: number
}

/** What one ServicePort put into the maps. */
export interface ServiceFragment {
  readonly services: Entries
  readonly slots: Entries
  readonly members: Entries
  /** Backend values (keys of `backendNumbers`), each once. */
  readonly backends: readonly string[]
  /** Numbers of its slot sets by their content, all slot values in order: equal slots keep their number. */
  readonly slotSets: ReadonlyMap<string, number>
}

export interface PlanState {
  /** What the tables were made of. */
  readonly resources: Resources
  readonly tables: Tables
  /** By ServicePort name. */
  readonly fragments: ReadonlyMap<string, ServiceFragment>
  /** Endpoint names by ServicePort name, so that one endpoint does not cost a walk over all. */
  readonly endpointNames: ReadonlyMap<string, ReadonlySet<string>>
  /** By backend value. */
  readonly backendNumbers: ReadonlyMap<string, BackendNumber>
  readonly nextBackend: number
  readonly nextSet: number
  /** What the kernel holds from an earlier agent; only the first plan looks at it. */
  readonly adopted: Adopted
}

interface Adopted {
  readonly backends: ReadonlyMap<string, number>
  /** By number of the ServicePort. */
  readonly slotSets: ReadonlyMap<number, ReadonlyMap<string, number>>
}

export const nothingAdopted: Adopted = { backends: new Map(), slotSets: new Map() }

export function initialState(): PlanState {
  return {
    resources: emptyResources(),
    tables: emptyTables(),
    fragments: new Map(),
    endpointNames: new Map(),
    backendNumbers: new Map(),
    nextBackend: 1,
    nextSet: 1,
    adopted: nothingAdopted,
  }
}

/**
 * A state that continues the numbering of what the kernel already holds. Without it a new agent would give number 1 to
 * another backend while the slots of the agent before still mean the old one by it.
 */
export function adoptState(have: Tables): PlanState {
  const backends = new Map<string, number>()
  let lastBackend = 0
  for (const [key, value] of have.pl_backends) {
    const number = keyBytes(key).readUInt32LE(0)
    backends.set(tableKey(value), number)
    lastBackend = Math.max(lastBackend, number)
  }
  const slotSets = adoptSlotSets(have)
  const sets = [...have.pl_slots.keys()].map(
    (key) => slotKeyLayout.read(keyBytes(key)).set,
  )
  const lastSet = sets.reduce((a, b) => Math.max(a, b), 0)
  return {
    ...initialState(),
    nextBackend: following(lastBackend),
    nextSet: following(lastSet),
    adopted: { backends, slotSets },
  }
}

function adoptSlotSets(have: Tables): Adopted['slotSets'] {
  const slotSets = new Map<number, Map<string, number>>()
  for (const value of have.pl_services.values()) {
    const { id, set, slots } = serviceLayout.read(value)
    const values = Array.from({ length: slots }, (_, slot) =>
      have.pl_slots.get(tableKey(slotKeyLayout.write({ set, slot }))),
    )
    // A hole: the agent before died in the middle of a write. Its set is not used again.
    if (slots === 0 || values.includes(undefined)) continue
    const content = tableKey(Buffer.concat(values.filter((slot) => slot !== undefined)))
    const own = slotSets.get(id) ?? new Map<string, number>()
    slotSets.set(id, own.set(content, set))
  }
  return slotSets
}

/** The number after `n` among 1 … 2^32-1. */
export function following(n: number): number {
  return n >= 0xffff_ffff ? 1 : n + 1
}
