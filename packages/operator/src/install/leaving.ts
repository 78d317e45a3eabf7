// SPDX-License-Identifier: Apache-2.0
// PURE: nodes that the Mesh does not select any more, and what takes their datapath away: a pod on each, which ends when its node
// is clean. Which nodes may have a datapath is remembered with the DaemonSet; a later operator goes on.
import { gunzipSync, gzipSync } from 'node:zlib'

/** How many nodes are cleaned at once; the others wait their turn. */
export const maxCleaners = 50

/** A pod that cleans a node. */
export interface Cleaner {
  readonly name: string
  readonly uid: string
  readonly node: string
  readonly revision: string
  /** `done`: the kernel has confirmed that nothing of ours is left. `dead`: it will not go on, another one is needed. */
  readonly state: 'done' | 'dead' | 'leaving' | 'working'
  /** Why it does not succeed; undefined: nothing is known to be wrong. */
  readonly failure: string | undefined
}

export interface LeavingState {
  /** Nodes that may have a datapath, as remembered. */
  readonly carriers: readonly string[]
  /** Nodes with a pod of the mesh, stopping ones too. */
  readonly running: ReadonlySet<string>
  readonly cleaners: readonly Cleaner[]
  /** Of the cleaners as they should be. */
  readonly revision: string
  /** Whether the Mesh selects a node; undefined: there is no such node. */
  readonly isSelected: (node: string) => boolean | undefined
}

export interface LeavingPlan {
  /** To be remembered before anything else is done. */
  readonly carriers: readonly string[]
  /** Nodes that get a cleaner, and cleaners that go. */
  readonly create: readonly string[]
  readonly remove: readonly Cleaner[]
  /** Nodes that are not clean yet, in words. */
  readonly left: readonly string[]
}

/** The next step; nothing to do and nothing left when every node that has a datapath is selected. */
export function planLeaving(state: LeavingState): LeavingPlan {
  const { cleaners, revision, running, isSelected } = state
  const byNode = new Map(cleaners.map((cleaner) => [cleaner.node, cleaner]))
  const carriers: string[] = []
  const remove: Cleaner[] = []
  const waiting: string[] = []
  const left: string[] = []
  for (const node of [...new Set([...state.carriers, ...running])].sort()) {
    const selected = isSelected(node)
    if (selected === undefined) continue // gone with all that was on it
    const cleaner = byNode.get(node)
    const isCurrent = cleaner?.revision === revision && !running.has(node)
    if (!selected && isCurrent && cleaner.state === 'done') continue
    carriers.push(node)
    if (selected) continue
    if (cleaner === undefined && !running.has(node)) waiting.push(node)
    const isKept = isCurrent && cleaner.state === 'working'
    if (isKept) byNode.delete(node)
    left.push(describe(node, cleaner, running.has(node)))
  }
  // What is done, dead, of another image, or of a node that is selected again or gone.
  remove.push(...[...byNode.values()].filter((each) => each.state !== 'leaving'))
  const room = Math.max(0, maxCleaners - cleaners.length)
  return { carriers, create: waiting.slice(0, room), remove, left }
}

function describe(
  node: string,
  cleaner: Cleaner | undefined,
  isRunning: boolean,
): string {
  if (isRunning) return `${node} is stopping`
  return cleaner?.failure === undefined ? node : `${node}: ${cleaner.failure}`
}

/** Names as the value of an annotation; 5000 nodes are some 20 KB. */
export function encodeNames(names: readonly string[]): string {
  return gzipSync(JSON.stringify(names)).toString('base64')
}

/** None where it is absent or somebody edited it: nodes with pods are found again. */
export function decodeNames(text: string | undefined): string[] {
  try {
    const json = gunzipSync(Buffer.from(text ?? '', 'base64'), {
      maxOutputLength: 2 ** 24,
    })
    const names = JSON.parse(json.toString()) as unknown
    return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : []
  } catch {
    return []
  }
}
