// SPDX-License-Identifier: Apache-2.0
// PURE. What the maps hold and what they should hold -> writes, in an order in which every state between is correct.
import { VersionedMap } from '@pillion/contract'
import { Direction, subjectKeyLayout } from './gen/layout.ts'
import { configuredMaps, keyBytes } from './tables.ts'
import type { ConfiguredMap, Table, Tables } from './tables.ts'

/** One batch on one map. Batches are applied in order. */
export interface Batch {
  readonly map: ConfiguredMap
  readonly set: readonly (readonly [Buffer, Buffer])[]
  readonly delete: readonly Buffer[]
}

/**
 * What is referred to is written first: backends, then slots, then the service that names them; rules before the subject
 * that isolates. Removals go last and the other way round. So no reader ever finds a service without its slots, or an
 * isolated subject without its rules.
 */
export function diff(have: Tables, want: Tables): Batch[] {
  const changes = configuredMaps.map((map) => ({
    map,
    ...tableDiff(have[map], want[map]),
  }))
  const sets = changes.map(({ map, set }) => ({ map, set, delete: [] }))
  const deletes = changes.map((change) => ({
    map: change.map,
    set: [],
    delete: change.delete,
  }))
  return [...sets, ...deletes.reverse()].filter(
    (batch) => batch.set.length > 0 || batch.delete.length > 0,
  )
}

function tableDiff(
  have: Table,
  want: Table,
): { set: [Buffer, Buffer][]; delete: Buffer[] } {
  if (have === want) return { set: [], delete: [] } // plan shares tables that did not change
  const changed = want instanceof VersionedMap ? want.changedSince(have) : undefined
  if (changed !== undefined) return keysDiff(have, want, changed)
  const set: [Buffer, Buffer][] = []
  for (const [key, value] of want) {
    if (have.get(key)?.equals(value) !== true) set.push([keyBytes(key), value])
  }
  const gone = [...have.keys()].filter((key) => !want.has(key)).map(keyBytes)
  return { set, delete: gone }
}

/** The difference where at most these keys differ. */
function keysDiff(
  have: Table,
  want: Table,
  keys: ReadonlySet<string>,
): { set: [Buffer, Buffer][]; delete: Buffer[] } {
  const set: [Buffer, Buffer][] = []
  const gone: Buffer[] = []
  for (const key of keys) {
    const value = want.get(key)
    if (value === undefined) {
      if (have.has(key)) gone.push(keyBytes(key))
    } else if (have.get(key)?.equals(value) !== true) {
      set.push([keyBytes(key), value])
    }
  }
  return { set, delete: gone }
}

const judgedBy: ReadonlySet<string> = new Set([
  'pl_rules',
  'pl_subjects',
  'pl_cgroups',
  'pl_addresses',
])

/** True when a batch can change a verdict, by a rule or by who somebody is: open connections must be judged again. */
export function changesPolicy(batches: readonly Batch[]): boolean {
  return batches.some(({ map }) => judgedBy.has(map))
}

/**
 * True when a backend left a set that remembers its clients: sockets that were connected to it before say so with the next
 * datagram, which somebody must see.
 */
export function losesDatagrams(batches: readonly Batch[]): boolean {
  return batches.some((batch) => batch.map === 'pl_members' && batch.delete.length > 0)
}

/** Whether some subject has a direction for policies in Shadow mode. */
export function hasShadowPolicy({ pl_subjects }: Tables): boolean {
  for (const key of pl_subjects.keys()) {
    const { direction } = subjectKeyLayout.read(keyBytes(key))
    if (
      direction !== Direction.DIRECTION_INGRESS &&
      direction !== Direction.DIRECTION_EGRESS
    )
      return true
  }
  return false
}
