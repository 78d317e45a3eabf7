// SPDX-License-Identifier: Apache-2.0
// PURE: what has to be sent so that a holder of one view holds another.
import {
  kinds,
  type Kind,
  type Resource,
  type ResourceRef,
  type Resources,
  same,
  type Tracked,
} from '@pillion/contract'

export interface ViewDiff {
  /** What is referred to comes first. */
  readonly upserts: Resource[]
  readonly removals: ResourceRef[]
}

/**
 * O(changes) for maps that know by what they differ; O(resources of the kind) for others; nothing for a map that is the
 * same value.
 */
export function diff(from: Resources, to: Resources): ViewDiff {
  const upserts: Resource[] = []
  const removals: ResourceRef[] = []
  for (const kind of kinds) {
    const before: ReadonlyMap<string, unknown> = from[kind]
    const after: ReadonlyMap<string, unknown> = to[kind]
    if (before === after) continue
    for (const name of changedNames(before, after)) {
      const value = after.get(name)
      if (value === undefined) {
        if (before.has(name)) removals.push({ kind, name })
      } else if (!same(before.get(name), value)) upserts.push(resource(kind, name, value))
    }
  }
  return { upserts, removals }
}

/** Names whose values may differ; each at least where it does. */
export function changedNames(
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
): Iterable<string> {
  const known = isTracked(after) ? after.changedSince(before) : undefined
  return known ?? new Set([...after.keys(), ...before.keys()])
}

function isTracked(map: ReadonlyMap<string, unknown>): map is Tracked<unknown> {
  return 'changedSince' in map
}

export function resource(kind: Kind, name: string, value: unknown): Resource {
  return { name, body: { $case: kind, value } as Resource['body'] }
}

export function isEmpty({ upserts, removals }: ViewDiff): boolean {
  return upserts.length === 0 && removals.length === 0
}
