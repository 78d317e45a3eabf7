// SPDX-License-Identifier: Apache-2.0
// PURE: equality of messages, and keeping the old value where the new one says the same. What is the same value is found equal
// by one comparison everywhere after: in the views, in the diffs, for every node.

/** Structural equality of wire messages: numbers, texts, bytes, lists, records. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null)
    return false
  if (a instanceof Uint8Array) {
    return (
      b instanceof Uint8Array &&
      a.length === b.length &&
      a.every((byte, i) => byte === b[i])
    )
  }
  if (Array.isArray(a)) {
    return (
      Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]))
    )
  }
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  const keys = Object.keys(left)
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => key in right && same(left[key], right[key]))
  )
}

/** `next` with the values of `previous` where they are equal; `previous` itself when all are. */
export function keep<V>(
  next: ReadonlyMap<string, V>,
  previous: ReadonlyMap<string, V> | undefined,
): ReadonlyMap<string, V> {
  if (previous === undefined) return next
  let changed = next.size !== previous.size
  const out = new Map<string, V>()
  for (const [name, value] of next) {
    const before = previous.get(name)
    const equal = before !== undefined && same(before, value)
    if (!equal) changed = true
    out.set(name, equal ? before : value)
  }
  return changed ? out : previous
}
