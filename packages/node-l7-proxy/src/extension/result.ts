// SPDX-License-Identifier: Apache-2.0
import type { Edits } from './fields.ts'
import type { CheckedAnswer } from './wire.ts'

/** How a call ended. `error` is for the log: it may have a stack. */
export type Result =
  | {
      readonly kind: 'done'
      readonly edits: Edits
      readonly answer: CheckedAnswer | undefined
    }
  | { readonly kind: Failure; readonly error: string }

/**
 * threw: an error of the filter's own; timeout: no answer in time; died: its thread ended meanwhile; overflow: too many calls
 * are unanswered; absent: there is no thread.
 */
export type Failure = 'threw' | 'timeout' | 'died' | 'overflow' | 'absent'
