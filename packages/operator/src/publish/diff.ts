// SPDX-License-Identifier: Apache-2.0
// PURE: what has to be sent so that a holder of one view holds another.
import {
  kinds,
  type Kind,
  type Resource,
  type ResourceRef,
  type Resources,
} from '@pillion/contract'
import { same } from '../compile/same.ts'

export interface ViewDiff {
  /** What is referred to comes first. */
  readonly upserts: Resource[]
  readonly removals: ResourceRef[]
}

/** O(resources of the kinds that changed): a map that is the same value is not looked into. */
export function diff(from: Resources, to: Resources): ViewDiff {
  const upserts: Resource[] = []
  const removals: ResourceRef[] = []
  for (const kind of kinds) {
    const before: ReadonlyMap<string, unknown> = from[kind]
    const after: ReadonlyMap<string, unknown> = to[kind]
    if (before === after) continue
    for (const [name, value] of after) {
      if (!same(before.get(name), value)) upserts.push(resource(kind, name, value))
    }
    for (const name of before.keys()) {
      if (!after.has(name)) removals.push({ kind, name })
    }
  }
  return { upserts, removals }
}

function resource(kind: Kind, name: string, value: unknown): Resource {
  return { name, body: { $case: kind, value } as Resource['body'] }
}

export function isEmpty({ upserts, removals }: ViewDiff): boolean {
  return upserts.length === 0 && removals.length === 0
}
