// SPDX-License-Identifier: Apache-2.0
import { VersionedMap } from '@pillion/contract'

/** Names of the resources with a key; empty: none. */
export type Index = (key: string) => readonly string[]

/**
 * Resources of a map by keys of their own. The index of a map is derived from that of the map before, so that under 500
 * changes a second nobody walks over 100 000 endpoints for the name of one; it is forgotten with its map.
 */
export function indexOf<V>(
  keysOf: (value: V) => readonly string[],
): (map: ReadonlyMap<string, V>) => Index {
  type Names = VersionedMap<readonly string[]>
  const known = new WeakMap<ReadonlyMap<string, V>, Names>()
  let last = new WeakRef<ReadonlyMap<string, V>>(new Map())

  const derive = (map: ReadonlyMap<string, V>): Names => {
    const before = last.deref()
    const index = before && known.get(before)
    const changed =
      map instanceof VersionedMap ? map.changedSince(before ?? map) : undefined
    if (before === undefined || index === undefined || changed === undefined)
      return change(VersionedMap.empty(), new Map(), map, map.keys())
    return change(index, before, map, changed)
  }

  const change = (
    index: Names,
    before: ReadonlyMap<string, V>,
    map: ReadonlyMap<string, V>,
    names: Iterable<string>,
  ): Names => {
    const changes = new Map<string, string[] | undefined>()
    const list = (key: string): string[] => {
      const names = changes.get(key) ?? [...(index.get(key) ?? [])]
      changes.set(key, names)
      return names
    }
    for (const name of names) {
      const [old, now] = [before.get(name), map.get(name)]
      if (old !== undefined) for (const key of keysOf(old)) remove(list(key), name)
      if (now !== undefined) for (const key of keysOf(now)) list(key).push(name)
    }
    for (const [key, rest] of changes) if (rest?.length === 0) changes.set(key, undefined)
    return index.apply(changes)
  }

  return (map) => {
    let index = known.get(map)
    if (index === undefined) {
      known.set(map, (index = derive(map)))
      last = new WeakRef(map)
    }
    const names = index
    return (key) => names.get(key) ?? []
  }
}

function remove(names: string[], name: string): void {
  const at = names.indexOf(name)
  if (at >= 0) names.splice(at, 1)
}
