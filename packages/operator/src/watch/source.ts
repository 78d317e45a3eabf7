// SPDX-License-Identifier: Apache-2.0
// Where objects come from. The directory is one source; the Kubernetes API becomes another behind the same face.
import type { ApiObject, ValidationError } from '../api/object.ts'

/** What changed since the last batch. */
export interface SourceChange {
  readonly upserts: readonly ApiObject[]
  /** Keys (`objectKey`) of objects that are gone. */
  readonly removals: readonly string[]
  /** All that is wrong now, not only what is new. An object named here keeps its last good version in force. */
  readonly errors: readonly ValidationError[]
}

/** One batch at a time: the next is reported when the promise of `onChange` has settled. */
export interface Source {
  /** Reports everything once, resolves, and then reports changes until `close`. */
  start(onChange: (change: SourceChange) => void | Promise<void>): Promise<void>
  close(): Promise<void>
}
