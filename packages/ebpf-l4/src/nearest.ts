// SPDX-License-Identifier: Apache-2.0
// PURE. Of a connection that default deny refused: the rule that almost allowed it.
import { Action, type DirectionPolicy, type PolicyEntry } from '@pillion/contract'
import type { Question } from './evaluate.ts'
import { portBlock } from './plan/policy.ts'

/** First and last port. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

/** A rule that allows something else, and what. */
export interface Nearest {
  readonly ruleId: number
  /** In what the question differs from the rule; at least one is true. */
  readonly differs: {
    readonly peer: boolean
    readonly protocol: boolean
    readonly port: boolean
  }
  /** Whom the rule allows on these ports; 0 is everybody. */
  readonly peers: readonly number[]
  /** IP protocol number; 0: every protocol. */
  readonly protocol: number
  /** What it allows these peers by this protocol, ascending; empty: every port. */
  readonly ports: readonly PortRange[]
}

/** A peer, a protocol and a port may each match or not: so many differ, and how far. Compared from left to right, less is nearer. */
type Distance = readonly [
  differences: number,
  unlikely: number,
  unlike: number,
  ports: number,
]

/**
 * The allowing rule of `policy` that differs in least from the question; undefined when a rule allows it, a deny rule refuses it,
 * or no rule allows anything. One difference is nearer than two. Among those: another protocol, then another port
 * for a peer that the rule names, then another peer on a port that it names, then the rest; then the peer with most in
 * common by `likeness` (more is more alike), then the closest port.
 */
export function nearest(
  policy: DirectionPolicy,
  question: Omit<Question, 'subject' | 'direction'>,
  likeness: (peer: number) => number = () => 0,
): Nearest | undefined {
  const { peer, protocol, port } = question
  let best: { entry: PolicyEntry; distance: Distance } | undefined
  for (const entry of policy.entries) {
    const differs = differences(entry, question)
    const count = Number(differs.peer) + Number(differs.protocol) + Number(differs.port)
    if (count === 0) return undefined
    if (entry.action === Action.DENY) continue
    const distance = [
      count,
      unlikely(entry, differs),
      differs.peer ? -likeness(entry.peer) : 0,
      differs.port ? Math.abs(entry.port - port) : 0,
    ] as const
    if (best === undefined || compare(distance, best.distance) < 0)
      best = { entry, distance }
  }
  if (best === undefined) return undefined
  const { entry } = best
  const same = policy.entries.filter(
    (e) => e.rule === entry.rule && e.action !== Action.DENY,
  )
  const alike = same.filter((e) => e.protocol === entry.protocol)
  return {
    ruleId: entry.rule,
    differs: differences(entry, { peer, protocol, port }),
    peers: [
      ...new Set(
        alike
          .filter((e) => e.port === entry.port && e.portBits === entry.portBits)
          .map((e) => e.peer),
      ),
    ],
    protocol: entry.protocol,
    ports: ranges(alike.filter((e) => e.peer === entry.peer)),
  }
}

function differences(
  entry: PolicyEntry,
  { peer, protocol, port }: Omit<Question, 'subject' | 'direction'>,
): Nearest['differs'] {
  return {
    peer: entry.peer !== 0 && entry.peer !== peer,
    protocol: entry.protocol !== 0 && entry.protocol !== protocol,
    port: portBlock(port, entry.portBits) !== portBlock(entry.port, entry.portBits),
  }
}

/** What a user hardly meant: the fewer words the rule has in common with the question, the more. */
function unlikely(entry: PolicyEntry, differs: Nearest['differs']): number {
  if (differs.protocol) return 0
  if (differs.port) return entry.peer === 0 ? 3 : 1
  return entry.portBits === 0 ? 4 : 2
}

function compare(a: Distance, b: Distance): number {
  return a.map((value, i) => value - (b[i] ?? 0)).find((d) => d !== 0) ?? 0
}

/** Blocks as ranges, joined where they touch. */
function ranges(entries: readonly PolicyEntry[]): PortRange[] {
  if (entries.some(({ portBits }) => portBits === 0)) return []
  const joined: { first: number; last: number }[] = []
  const blocks = entries.map(({ port, portBits }) => {
    const first = portBlock(port, portBits)
    return { first, last: first + (1 << (16 - portBits)) - 1 }
  })
  for (const block of blocks.sort((a, b) => a.first - b.first)) {
    const last = joined.at(-1)
    if (last !== undefined && block.first <= last.last + 1)
      last.last = Math.max(last.last, block.last)
    else joined.push(block)
  }
  return joined
}
