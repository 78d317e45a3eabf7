// SPDX-License-Identifier: Apache-2.0
// What the parent and its workers say to each other, over the channel of child_process (structured clone).
import type { Changes, Kind, Resources } from '@pillion/contract'

export type ToWorker =
  /** A change of the configuration (for a new worker: all of it) to put in force. */
  | {
      readonly type: 'config'
      readonly seq: number
      /** True: what is not named is gone. */
      readonly full: boolean
      readonly upserts: readonly (readonly [Kind, string, unknown])[]
      readonly removals: readonly (readonly [Kind, string])[]
    }
  /** `succeeded`: a successor serves on the same sockets, so the kernel is told nothing. */
  | { readonly type: 'drain'; readonly succeeded: boolean }
  | { readonly type: 'ask'; readonly seq: number; readonly what: 'metrics' | 'config' }

export type FromWorker =
  | { readonly type: 'listening' }
  /** Accepts no more: the listening sockets can be closed. */
  | { readonly type: 'stopped' }
  /** `error` undefined: in force. */
  | { readonly type: 'applied'; readonly seq: number; readonly error: string | undefined }
  | { readonly type: 'answer'; readonly seq: number; readonly value: unknown }

/** The difference as messages carry it. */
export function deltaOf(
  resources: Resources,
  changes: Changes,
): { upserts: [Kind, string, unknown][]; removals: [Kind, string][] } {
  const upserts: [Kind, string, unknown][] = []
  const removals: [Kind, string][] = []
  for (const [kind, names] of changes) {
    for (const name of names) {
      const value = resources[kind].get(name)
      if (value === undefined) removals.push([kind, name])
      else upserts.push([kind, name, value])
    }
  }
  return { upserts, removals }
}

/** Names that a full configuration with these upserts no longer has. */
export function goneFrom(
  resources: Resources,
  upserts: readonly (readonly [Kind, string, unknown])[],
): [Kind, string][] {
  const named = new Set(upserts.map(([kind, name]) => `${kind}/${name}`))
  return (Object.keys(resources) as Kind[]).flatMap((kind) =>
    [...resources[kind].keys()]
      .filter((name) => !named.has(`${kind}/${name}`))
      .map((name): [Kind, string] => [kind, name]),
  )
}

/** The resources after a difference, and what changed. */
export function applyUpserts(
  resources: Resources,
  upserts: readonly (readonly [Kind, string, unknown])[],
  removals: readonly (readonly [Kind, string])[],
): { resources: Resources; changes: Changes } {
  const next = new Map<Kind, Map<string, unknown>>()
  const changes = new Map<Kind, Set<string>>()
  const touch = (kind: Kind, name: string): Map<string, unknown> => {
    const map = next.get(kind) ?? new Map<string, unknown>(resources[kind])
    next.set(kind, map)
    changes.set(kind, (changes.get(kind) ?? new Set()).add(name))
    return map
  }
  for (const [kind, name] of removals) touch(kind, name).delete(name)
  for (const [kind, name, value] of upserts) touch(kind, name).set(name, value)
  return {
    resources: { ...resources, ...Object.fromEntries(next) } as Resources,
    changes,
  }
}
