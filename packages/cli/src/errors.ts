// SPDX-License-Identifier: Apache-2.0
// Exit codes of `pillion`; the errors themselves are the lab's.
import { exitCodes, LabError, messageOf } from '@pillion/lab'

/** 0 done, 1 failed, 2 wrong usage, 3 no lab runs. `lab exec` passes on the command's own code. */
export const exitCode = { ok: 0, failed: 1, usage: 2, notRunning: 3 } as const

/** What a thrown value means to a shell. */
export function exitCodeOf(error: unknown): number {
  return error instanceof LabError ? exitCodes[error.code] : exitCode.failed
}

/** What a thrown value means to a person. */
export function explainError(error: unknown): string {
  if (error instanceof LabError && error.code === 'not-running') {
    return `no lab is running (${error.message}); start one: pillion lab up DIR`
  }
  return messageOf(error)
}
