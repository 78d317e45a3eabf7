// SPDX-License-Identifier: Apache-2.0
// Sets of fields, as `fieldsV1` writes them. A field is a path of elements `f:NAME`, `k:{"KEY":VALUE}` or `v:VALUE`; an
// item of a list by key is a field of its own beside the fields in it.
import { isJson, type Json, type KubeObject } from './types.ts'
import type { Topology, TopologyOf } from './topology.ts'

/** Elements of a path, joined: no element has a line feed, JSON escapes it. */
export type FieldPath = string
const separator = '\n'
const join = (path: FieldPath, element: string): FieldPath =>
  path === '' ? element : path + separator + element

/** JSON with sorted keys: equal values, equal text. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isJson(value)) return JSON.stringify(value ?? null)
  const parts = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .toSorted()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)
  return `{${parts.join(',')}}`
}

/** The element that names an item of a list. */
export function itemElement(item: unknown, topology: Topology): string {
  if (typeof topology === 'string' || !isJson(item)) return `v:${canonical(item)}`
  const key: Json = {}
  for (const name of topology.keys) key[name] = item[name] ?? topology.defaults[name]
  return `k:${canonical(key)}`
}

/** Fields that belong to the server or name the object: nobody owns them. */
const unowned = new Set([
  ...['apiVersion', 'kind', 'metadata.name', 'metadata.namespace', 'metadata.uid'],
  ...['metadata.creationTimestamp', 'metadata.deletionTimestamp', 'metadata.generation'],
  ...['metadata.managedFields', 'metadata.resourceVersion', 'metadata.selfLink'],
  'metadata.deletionGracePeriodSeconds',
])

/** All fields of an object with their values as canonical JSON. */
export function fieldsOf(
  object: KubeObject,
  topologyOf: TopologyOf,
): Map<FieldPath, string> {
  const fields = new Map<FieldPath, string>()
  const visit = (value: unknown, names: readonly string[], path: FieldPath): void => {
    const topology = topologyOf(names)
    if (isJson(value) && topology !== 'atomic') {
      const entries = Object.entries(value).filter(([, child]) => child !== undefined)
      if (entries.length === 0 && path !== '') fields.set(path, '{}')
      for (const [name, child] of entries) {
        const childNames = [...names, name]
        if (childNames.length < 3 && unowned.has(childNames.join('.'))) continue
        visit(child, childNames, join(path, `f:${name}`))
      }
      return
    }
    if (!Array.isArray(value) || topology === 'atomic' || topology === 'granular') {
      fields.set(path, canonical(value))
      return
    }
    for (const item of value as unknown[]) {
      const itemPath = join(path, itemElement(item, topology))
      fields.set(itemPath, '')
      // The names of an item are those of its list: a topology stands at the list only.
      if (isJson(item) && topology !== 'set')
        for (const [name, child] of Object.entries(item))
          if (child !== undefined)
            visit(child, [...names, name], join(itemPath, `f:${name}`))
    }
  }
  visit(object, [], '')
  return fields
}

/** A set as `fieldsV1`. */
export function toFieldsV1(fields: Iterable<FieldPath>): Json {
  const root: Json = {}
  for (const path of [...fields].toSorted()) {
    let at = root
    for (const element of path.split(separator)) at = (at[element] ??= {}) as Json
    at['.'] = {}
  }
  const trim = (node: Json): Json => {
    const names = Object.keys(node)
    if (names.length === 1 && names[0] === '.') return {}
    return Object.fromEntries(
      names.map((name) => [name, name === '.' ? {} : trim(node[name] as Json)]),
    )
  }
  return trim(root)
}

/** The set that `fieldsV1` writes. */
export function fromFieldsV1(fieldsV1: Json): Set<FieldPath> {
  const fields = new Set<FieldPath>()
  const visit = (node: Json, path: FieldPath): void => {
    const names = Object.keys(node)
    if (names.length === 0 && path !== '') fields.add(path)
    for (const name of names) {
      if (name === '.') fields.add(path)
      else visit(node[name] as Json, join(path, name))
    }
  }
  visit(fieldsV1, '')
  return fields
}

/** A path as messages write it: `.spec.ports[port=80,protocol="TCP"].name`. */
export function describePath(path: FieldPath): string {
  return path
    .split(separator)
    .map((element) => {
      const text = element.slice(2)
      if (element.startsWith('f:')) return `.${text}`
      if (element.startsWith('v:')) return `[=${text}]`
      const keys = Object.entries(JSON.parse(text) as Json)
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`
    })
    .join('')
}

/** The object without these fields; maps and lists that this empties go too. */
export function removeFields(
  object: KubeObject,
  remove: ReadonlySet<FieldPath>,
  topologyOf: TopologyOf,
): KubeObject {
  const visit = (value: unknown, names: readonly string[], path: FieldPath): unknown => {
    if (path !== '' && remove.has(path)) return undefined
    const topology = topologyOf(names)
    if (topology === 'atomic') return value
    if (isJson(value)) return map(value, names, path)
    if (!Array.isArray(value) || topology === 'granular') return value
    const items = (value as unknown[]).flatMap((item) => {
      const itemPath = join(path, itemElement(item, topology))
      if (remove.has(itemPath)) return []
      return [isJson(item) && topology !== 'set' ? map(item, names, itemPath) : item]
    })
    return items.length === 0 && value.length > 0 ? undefined : items
  }
  const map = (value: Json, names: readonly string[], path: FieldPath): unknown => {
    const entries = Object.entries(value).map(
      ([name, child]) =>
        [name, visit(child, [...names, name], join(path, `f:${name}`))] as const,
    )
    const kept = entries.filter(([, child]) => child !== undefined)
    if (kept.length === 0 && entries.length > 0 && path !== '') return undefined
    return Object.fromEntries(kept)
  }
  return map(object, [], '') as KubeObject
}
