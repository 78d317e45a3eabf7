// SPDX-License-Identifier: Apache-2.0
// The resources of a node as values: what the wire carries, held by kind and name.
import { Draft } from './draft.ts'
import type { Delta, Resource } from './gen/pillion/v1/node.ts'
import { bucketOf, digestOf } from './summary.ts'
import { VersionedMap } from './versioned-map.ts'

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
  'l7Policy',
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

/**
 * The resources after `delta`. Where it replaces buckets, what says the same as before stays and is no change. Throws a
 * TypeError on a resource without a name.
 */
export function applyDelta(
  resources: Resources,
  delta: Delta,
): { resources: Resources; changes: Changes } {
  const changes = new Map<Kind, Set<string>>()
  const drafts = new Map<Kind, Draft<unknown>>()
  const draft = (kind: Kind): Draft<unknown> => {
    const base = delta.full ? VersionedMap.empty<unknown>() : resources[kind]
    const made = drafts.get(kind) ?? new Draft<unknown>(base)
    drafts.set(kind, made)
    return made
  }
  const changed = (kind: Kind, name: string): void => {
    let names = changes.get(kind)
    if (names === undefined) changes.set(kind, (names = new Set()))
    names.add(name)
  }
  if (delta.full) {
    for (const kind of kinds) {
      draft(kind)
      for (const name of resources[kind].keys()) changed(kind, name)
    }
  }
  for (const { kind, name } of unnamed(resources, delta)) {
    draft(kind).delete(name)
    changed(kind, name)
  }
  for (const { kind, name } of delta.removals) {
    if (!isKind(kind)) continue // a newer operator's kind that was never applied here
    if (draft(kind).get(name) === undefined) continue
    draft(kind).delete(name)
    changed(kind, name)
  }
  for (const resource of delta.upserts) {
    const { name, body } = resource
    if (name === '') throw new TypeError('a resource without a name')
    if (body === undefined) continue // a newer operator's kind: unknown fields are skipped, as protobuf does
    if (delta.replaced.length > 0 && isHeld(resources, resource)) continue
    draft(body.$case).set(name, body.value)
    changed(body.$case, name)
  }
  const next = [...drafts].map(([kind, made]) => [kind, made.done()])
  return {
    resources: { ...resources, ...Object.fromEntries(next) } as Resources,
    changes,
  }
}

/** What is held in buckets that `delta` replaces, and not named by it. */
function* unnamed(
  resources: Resources,
  { replaced, upserts }: Delta,
): Generator<{ kind: Kind; name: string }> {
  if (replaced.length === 0) return
  const named = new Set(upserts.map(({ name, body }) => `${body?.$case} ${name}`))
  for (const { kind, buckets } of replaced) {
    if (!isKind(kind)) continue // held by nobody who does not know it
    const gone = new Set(buckets)
    for (const name of resources[kind].keys()) {
      if (gone.has(bucketOf(name)) && !named.has(`${kind} ${name}`)) yield { kind, name }
    }
  }
}

function isHeld(resources: Resources, { name, body }: Resource): boolean {
  if (body === undefined) return false
  const value = resources[body.$case].get(name)
  if (value === undefined) return false
  const held = { name, body: { $case: body.$case, value } as Resource['body'] }
  return digestOf(held) === digestOf({ name, body })
}

function isKind(kind: string): kind is Kind {
  return (kinds as readonly string[]).includes(kind)
}
