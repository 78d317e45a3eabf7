// SPDX-License-Identifier: Apache-2.0
// `metadata.managedFields`: who owns which field after a write that is not an apply.
import { canonical, fieldsOf, fromFieldsV1, toFieldsV1 } from './fieldset.ts'
import type { TopologyOf } from './topology.ts'
import type { KubeObject, ManagedFieldsEntry } from './types.ts'

/** Who writes. */
export interface Writer {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly subresource?: string
}

/** Whether an entry belongs to this writer. */
export const isOf = (entry: ManagedFieldsEntry, writer: Writer): boolean =>
  entry.manager === writer.manager &&
  entry.operation === writer.operation &&
  entry.subresource === writer.subresource

/** An entry for these fields; without fields there is none. */
export function entryOf(
  writer: Writer,
  fields: ReadonlySet<string>,
  time: string,
): ManagedFieldsEntry[] {
  if (fields.size === 0) return []
  const subresource =
    writer.subresource === undefined ? {} : { subresource: writer.subresource }
  return [
    {
      ...{ manager: writer.manager, operation: writer.operation },
      ...{ apiVersion: writer.apiVersion, time, fieldsType: 'FieldsV1' as const },
      ...{ fieldsV1: toFieldsV1(fields), ...subresource },
    },
  ]
}

/** The entry with other fields; its time stays if nothing changed. */
export function withFields(
  entry: ManagedFieldsEntry,
  fields: ReadonlySet<string>,
  time: string,
): ManagedFieldsEntry[] {
  const fieldsV1 = toFieldsV1(fields)
  if (fields.size === 0) return []
  if (canonical(fieldsV1) === canonical(entry.fieldsV1)) return [entry]
  return [{ ...entry, fieldsV1, time }]
}

/**
 * Ownership after an update: the writer gets the fields that it changed or added, whoever owned them; fields that are gone
 * belong to nobody.
 */
export function afterUpdate(
  before: KubeObject | undefined,
  after: KubeObject,
  writer: Writer,
  topologyOf: TopologyOf,
  time: string,
): ManagedFieldsEntry[] {
  const old =
    before === undefined ? new Map<string, string>() : fieldsOf(before, topologyOf)
  const now = fieldsOf(after, topologyOf)
  const changed = new Set(
    [...now.keys()].filter((path) => now.get(path) !== old.get(path)),
  )
  const entries = before?.metadata.managedFields ?? []
  const own = entries.find((entry) => isOf(entry, writer))
  const result = entries.flatMap((entry) => {
    const kept = [...fromFieldsV1(entry.fieldsV1)].filter(
      (path) => now.has(path) && (entry === own || !changed.has(path)),
    )
    const fields = new Set(entry === own ? [...kept, ...changed] : kept)
    return withFields(entry, fields, time)
  })
  return own === undefined ? [...result, ...entryOf(writer, changed, time)] : result
}
