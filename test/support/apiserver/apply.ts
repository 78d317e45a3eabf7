// SPDX-License-Identifier: Apache-2.0
// Server-side apply: merge the applied fields, refuse to change what others own, drop what this manager owned and no
// longer applies. https://kubernetes.io/docs/reference/using-api/server-side-apply/
import { ApiError, type Cause } from './errors.ts'
import {
  describePath,
  fieldsOf,
  fromFieldsV1,
  itemElement,
  removeFields,
  type FieldPath,
} from './fieldset.ts'
import { entryOf, isOf, withFields, type Writer } from './managed.ts'
import type { TopologyOf } from './topology.ts'
import { isJson, type Json, type KubeObject, type ManagedFieldsEntry } from './types.ts'

/** `base` with everything that `applied` says. */
function merge(
  base: unknown,
  applied: unknown,
  topologyOf: TopologyOf,
  names: readonly string[],
): unknown {
  const topology = topologyOf(names)
  if (base === undefined || base === null || topology === 'atomic') return applied
  if (isJson(base) && isJson(applied)) return mergeMaps(base, applied, topologyOf, names)
  if (!Array.isArray(base) || !Array.isArray(applied) || topology === 'granular')
    return applied
  const result = [...(base as unknown[])]
  const elements = result.map((item) => itemElement(item, topology))
  for (const item of applied as unknown[]) {
    const at = elements.indexOf(itemElement(item, topology))
    if (at < 0) result.push(item)
    else if (isJson(item))
      result[at] = mergeMaps(result[at] as Json, item, topologyOf, names)
  }
  return result
}

function mergeMaps(
  base: Json,
  applied: Json,
  topologyOf: TopologyOf,
  names: readonly string[],
): Json {
  const result: Json = { ...base }
  for (const [name, value] of Object.entries(applied))
    result[name] = merge(base[name], value, topologyOf, [...names, name])
  return result
}

function conflictError(
  conflicts: readonly [ManagedFieldsEntry, FieldPath[]][],
): ApiError {
  const count = conflicts.reduce((sum, [, paths]) => sum + paths.length, 0)
  const nameOf = (entry: ManagedFieldsEntry): string =>
    `"${entry.manager}"` +
    (entry.subresource === undefined ? '' : ` with subresource "${entry.subresource}"`) +
    ` using ${entry.apiVersion}`
  const causes: Cause[] = conflicts.flatMap(([entry, paths]) =>
    paths.map((path) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${nameOf(entry)}`,
      field: describePath(path),
    })),
  )
  const text = conflicts.map(([entry, paths]) =>
    paths.length === 1
      ? `conflict with ${nameOf(entry)}: ${paths.map(describePath).join('')}`
      : `conflicts with ${nameOf(entry)}:\n${paths.map((path) => `- ${describePath(path)}`).join('\n')}`,
  )
  const message = `Apply failed with ${count} conflict${count === 1 ? '' : 's'}: ${text.join('\n')}`
  return new ApiError(409, 'Conflict', message, { causes })
}

/**
 * The object after `applied` was applied to `live` (undefined: it is created), with `metadata.managedFields`.
 * `applied` holds only fields that the resource or subresource accepts. Throws 409 that names the other managers, unless `force`.
 */
export function apply(
  live: KubeObject | undefined,
  applied: KubeObject,
  writer: Writer,
  options: { force: boolean; topologyOf: TopologyOf; time: string },
): KubeObject {
  const { topologyOf, time } = options
  const entries = live?.metadata.managedFields ?? []
  const own = entries.find((entry) => isOf(entry, writer))
  const others = entries.filter((entry) => entry !== own)
  const wanted = new Set(fieldsOf(applied, topologyOf).keys())
  const merged = merge(live, applied, topologyOf, []) as KubeObject

  const before = live === undefined ? new Map() : fieldsOf(live, topologyOf)
  const changed = new Set(
    [...fieldsOf(merged, topologyOf)]
      .filter(([path, value]) => before.get(path) !== value)
      .map(([path]) => path),
  )
  const conflicts = others
    .map((entry): [ManagedFieldsEntry, FieldPath[]] => [
      entry,
      [...fromFieldsV1(entry.fieldsV1)].filter((path) => changed.has(path)),
    ])
    .filter(([, paths]) => paths.length > 0)
  if (conflicts.length > 0 && !options.force) throw conflictError(conflicts)

  const kept = others.flatMap((entry) => {
    const left = [...fromFieldsV1(entry.fieldsV1)].filter((path) => !changed.has(path))
    return withFields(entry, new Set(left), time)
  })
  const remove = removable(own, wanted, kept)
  const result = remove.size === 0 ? merged : removeFields(merged, remove, topologyOf)
  const ownEntries =
    own === undefined ? entryOf(writer, wanted, time) : withFields(own, wanted, time)
  return {
    ...result,
    metadata: { ...result.metadata, managedFields: [...kept, ...ownEntries] },
  }
}

/** What this manager applied before and does not now, unless someone else owns it or something in it. */
function removable(
  own: ManagedFieldsEntry | undefined,
  wanted: ReadonlySet<FieldPath>,
  others: readonly ManagedFieldsEntry[],
): Set<FieldPath> {
  const remove = new Set(own === undefined ? [] : fromFieldsV1(own.fieldsV1))
  const owned = [...wanted, ...others.flatMap((e) => [...fromFieldsV1(e.fieldsV1)])]
  for (const path of owned) {
    const elements = path.split('\n')
    for (let n = 1; n <= elements.length; n++)
      remove.delete(elements.slice(0, n).join('\n'))
  }
  return remove
}
