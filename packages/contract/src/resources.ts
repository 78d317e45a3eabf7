// SPDX-License-Identifier: Apache-2.0
// The resources of a node as values: what the wire carries, held by kind and name.
import type { Delta, Resource } from './gen/pillion/v1/node.ts'

type Body = NonNullable<Resource['body']>

/** Kind of a resource, as on the wire: 'settings', 'identity', 'servicePort'… */
export type Kind = Body['$case']

/** The message of a kind. */
export type Message<K extends Kind> = Extract<Body, { $case: K }>['value']

/** Every kind, in the order in which a receiver may apply them: what is referred to comes first. */
export const kinds = [
  'settings',
  'node',
  'rule',
  'identity',
  'address',
  'workload',
  'subjectPolicy',
  'endpoint',
  'servicePort',
  'routeTable',
] as const satisfies readonly Kind[]

/** All resources of a node, immutable: `apply` returns the next value and shares what did not change. */
export type Resources = {
  readonly [K in Kind]: ReadonlyMap<string, Message<K>>
}

/** What a delta changed: names by kind. */
export type Changes = ReadonlyMap<Kind, ReadonlySet<string>>

export function emptyResources(): Resources {
  return Object.fromEntries(
    kinds.map((kind) => [kind, new Map()]),
  ) as unknown as Resources
}

/** The resources after `delta`. Throws a TypeError on a resource without a name or body. */
export function applyDelta(
  resources: Resources,
  delta: Delta,
): { resources: Resources; changes: Changes } {
  const next = new Map<Kind, Map<string, unknown>>()
  const changes = new Map<Kind, Set<string>>()
  const writable = (kind: Kind): Map<string, unknown> => {
    let map = next.get(kind)
    if (map === undefined) {
      map = new Map(resources[kind] as ReadonlyMap<string, unknown>)
      next.set(kind, map)
    }
    return map
  }
  const changed = (kind: Kind, name: string): void => {
    let names = changes.get(kind)
    if (names === undefined) changes.set(kind, (names = new Set()))
    names.add(name)
  }
  if (delta.full) {
    for (const kind of kinds) {
      for (const name of resources[kind].keys()) changed(kind, name)
      next.set(kind, new Map())
    }
  }
  for (const { kind, name } of delta.removals) {
    if (!isKind(kind)) continue // a newer operator's kind that was never applied here
    if (writable(kind).delete(name)) changed(kind, name)
  }
  for (const { name, body } of delta.upserts) {
    if (name === '') throw new TypeError('a resource without a name')
    if (body === undefined) continue // a newer operator's kind: unknown fields are skipped, as protobuf does
    writable(body.$case).set(name, body.value)
    changed(body.$case, name)
  }
  return {
    resources: { ...resources, ...Object.fromEntries(next) } as Resources,
    changes,
  }
}

function isKind(kind: string): kind is Kind {
  return (kinds as readonly string[]).includes(kind)
}
