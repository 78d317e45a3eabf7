// SPDX-License-Identifier: Apache-2.0
// PURE: what each node is told of itself.
import { type Node, keep } from '@pillion/contract'
import { zoneLabel } from '../api/core.ts'
import type { Snapshot } from '../index/objects.ts'

/** By node: its one resource. */
export type Nodes = ReadonlyMap<string, ReadonlyMap<string, Node>>

/** A node that stayed what it was keeps its map, so that its subscribers are not looked at. */
export function compileNodes(snapshot: Snapshot, previous: Nodes | undefined): Nodes {
  return new Map(
    [...snapshot.Node.values()].map(({ metadata: { name, labels } }) => {
      const own = new Map([[name, { name, zone: labels[zoneLabel] ?? '' }]])
      return [name, keep(own, previous?.get(name))]
    }),
  )
}
