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

/** The slots of one address family of a service, as they were last numbered. */
export interface SlotSet {
  readonly generation: number
  /** All slot values in order: equal content keeps its generation. */
  readonly content: string
}

/** What one ServicePort put into the maps. */
export interface ServiceFragment {
  readonly services: Entries
  readonly slots: Entries
  /** Backend values (keys of `backendNumbers`), each once. */
  readonly backends: readonly string[]
  /** By slot_key.service. */
  readonly slotSets: ReadonlyMap<number, SlotSet>
}

export interface PlanState {
  /** What the tables were made of. */
  readonly resources: Resources
  readonly tables: Tables
  /** By ServicePort name. */
  readonly fragments: ReadonlyMap<string, ServiceFragment>
  /** Endpoint names by ServicePort name, so that one endpoint does not cost a walk over all. */
  readonly members: ReadonlyMap<string, ReadonlySet<string>>
  /** By backend value. */
  readonly backendNumbers: ReadonlyMap<string, BackendNumber>
  readonly nextBackend: number
  readonly nextGeneration: number
  /** What the kernel holds from an earlier agent; only the first plan looks at it. */
  readonly adopted: Adopted
}

interface Adopted {
  readonly backends: ReadonlyMap<string, number>
  readonly slotSets: ReadonlyMap<number, SlotSet>
}

export const nothingAdopted: Adopted = { backends: new Map(), slotSets: new Map() }

export function initialState(): PlanState {
  return {
    resources: emptyResources(),
    tables: emptyTables(),
    fragments: new Map(),
    members: new Map(),
    backendNumbers: new Map(),
    nextBackend: 1,
    nextGeneration: 1,
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
  const generations = [...have.pl_slots.keys()].map(
    (key) => slotKeyLayout.read(keyBytes(key)).generation,
  )
  const lastGeneration = generations.reduce((a, b) => Math.max(a, b), 0)
  return {
    ...initialState(),
    nextBackend: following(lastBackend),
    nextGeneration: following(lastGeneration),
    adopted: { backends, slotSets },
  }
}

function adoptSlotSets(have: Tables): Map<number, SlotSet> {
  const slotSets = new Map<number, SlotSet>()
  for (const value of have.pl_services.values()) {
    const { id, generation, slots } = serviceLayout.read(value)
    if (slotSets.has(id)) continue
    const values = Array.from({ length: slots }, (_, slot) =>
      have.pl_slots.get(tableKey(slotKeyLayout.write({ service: id, generation, slot }))),
    )
    // A hole: the agent before died in the middle of a write. Its generation is not used again.
    if (values.includes(undefined)) continue
    const content = tableKey(Buffer.concat(values.filter((slot) => slot !== undefined)))
    slotSets.set(id, { generation, content })
  }
  return slotSets
}

/** The number after `n` among 1 … 2^32-1. */
export function following(n: number): number {
  return n >= 0xffff_ffff ? 1 : n + 1
}
