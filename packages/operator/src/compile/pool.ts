// SPDX-License-Identifier: Apache-2.0
// PURE: numbers for keys. A pool goes into a compile and comes out of it, so that the same key keeps its number for as long
// as it lives, across compiles and across restarts of the operator.

import { hashedNumbers, type NumberHash } from './hashed.ts'

/** How many numbers of gone keys are remembered, so that a key that comes back gets its number again. */
const maxRetired = 4096

export interface Pool {
  /** The next number that nobody ever had. Numbers of gone keys are not given to others: a node may still hold them. */
  readonly next: number
  readonly live: ReadonlyMap<string, number>
  /** Numbers of keys that are gone, the longest gone first. */
  readonly retired: ReadonlyMap<string, number>
  /** Instead of counting: numbers follow from the keys, and nothing has to be remembered. */
  readonly hash?: NumberHash
  /** With `hash`: a live key has not its first number, so that every change of keys may move it. */
  readonly collided?: boolean
}

/** An empty pool whose first number is `first`. */
export function emptyPool(first: number): Pool {
  return { next: first, live: new Map(), retired: new Map() }
}

/** An empty pool whose numbers are hashes of keys; they are the same in every process with the same `hash`. */
export function hashedPool(hash: NumberHash): Pool {
  return { next: 1, live: new Map(), retired: new Map(), hash }
}

/** The pool with a number for exactly the `wanted` keys; the same value when nothing changed. */
export function allocate(pool: Pool, wanted: ReadonlySet<string>): Pool {
  const missing = [...wanted].filter((key) => !pool.live.has(key))
  if (missing.length === 0 && pool.live.size === wanted.size) return pool
  if (pool.hash !== undefined) {
    return { ...pool, ...hashedNumbers(wanted, known(pool, pool.hash)) }
  }
  const live = new Map<string, number>()
  const retired = new Map(pool.retired)
  for (const [key, id] of pool.live) {
    if (wanted.has(key)) live.set(key, id)
    else retired.set(key, id)
  }
  let { next } = pool
  for (const key of missing) {
    live.set(key, retired.get(key) ?? next++)
    retired.delete(key)
  }
  for (const key of retired.keys()) {
    if (retired.size <= maxRetired) break
    retired.delete(key)
  }
  return { next, live, retired }
}

/** `hash`, which need not be asked again for keys that have their first number. */
function known({ live, collided }: Pool, hash: NumberHash): NumberHash {
  if (collided === true) return hash
  return (key, round) => (round === 0 ? live.get(key) : undefined) ?? hash(key, round)
}

/** The number of a key that was wanted. Throws a RangeError for any other: a bug. */
export function numberOf(pool: Pool, key: string): number {
  const id = pool.live.get(key)
  if (id === undefined) throw new RangeError(`no number was given to "${key}"`)
  return id
}
