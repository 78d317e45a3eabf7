// SPDX-License-Identifier: Apache-2.0
// PURE: numbers that follow from the keys alone, so that replicas that know the same objects give the same numbers without
// asking each other (docs/decisions/0010-numbers-without-a-leader.md).

/** A number for `key`, as random as can be; another for each `round`. */
export type NumberHash = (key: string, round: number) => number

/** The numbers of `keys`, and whether one of them is not its key's first. */
export interface Hashed {
  readonly live: ReadonlyMap<string, number>
  readonly collided: boolean
}

/**
 * A number for each key, the same whatever order the keys came in. Keys that meet in a number all leave it and go on to their
 * next: so the number of one never becomes that of another, not even for the moment in which nodes know different versions.
 */
export function hashedNumbers(keys: Iterable<string>, hash: NumberHash): Hashed {
  const live = new Map<string, number>()
  const taken = new Set<number>()
  let open: Iterable<string> = keys
  for (let round = 0; ; round++) {
    const byNumber = new Map<number, string[]>()
    for (const key of open) {
      const number = hash(key, round)
      const meeting = byNumber.get(number)
      if (meeting === undefined) byNumber.set(number, [key])
      else meeting.push(key)
    }
    const left: string[] = []
    for (const [number, meeting] of byNumber) {
      const [key] = meeting
      if (key !== undefined && meeting.length === 1 && !taken.has(number))
        live.set(key, number)
      else left.push(...meeting)
    }
    // Also numbers that nobody got: they were somebody's until now.
    for (const number of byNumber.keys()) taken.add(number)
    if (left.length === 0) return { live, collided: round > 0 }
    open = left
  }
}
