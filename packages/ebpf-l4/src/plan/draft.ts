// SPDX-License-Identifier: Apache-2.0
import type { Draft } from '@pillion/contract'
import type { Table } from '../tables.ts'

/** Entries of one map that belong to one resource. */
export type Entries = readonly (readonly [key: string, value: Buffer])[]

/**
 * Replaces the entries of changed resources, all at once: a key that one resource gave up may be another's by now. Equal
 * values are left alone: diff compares references first.
 */
export function replace(
  table: Draft<Buffer>,
  old: Iterable<Entries>,
  next: readonly Entries[],
): void {
  const kept = new Set<string>()
  for (const entries of next) for (const [key] of entries) kept.add(key)
  for (const entries of old) {
    for (const [key] of entries) if (!kept.has(key)) table.delete(key)
  }
  for (const entries of next) {
    for (const [key, value] of entries) {
      if (table.get(key)?.equals(value) !== true) table.set(key, value)
    }
  }
}

/** `next`, or `old` when they hold the same. */
export function sameOr(old: Table, next: Table): Table {
  if (old.size !== next.size) return next
  for (const [key, value] of next) {
    if (old.get(key)?.equals(value) !== true) return next
  }
  return old
}
