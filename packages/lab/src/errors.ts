// SPDX-License-Identifier: Apache-2.0
// Every failure of the lab that a person is told about.

/** Why the lab refused or failed; `exitCodes` says what each means to a shell. */
export type LabErrorCode =
  | 'not-root'
  | 'already-running'
  | 'not-running'
  | 'invalid'
  | 'not-found'
  | 'ambiguous'
  | 'timeout'
  | 'host'
  | 'usage'

/** Exit code by error code: 1 failed, 2 usage, 3 not running, 4 not in time. */
export const exitCodes: Readonly<Record<LabErrorCode, number>> = {
  'not-root': 1,
  'already-running': 1,
  'not-running': 3,
  invalid: 1,
  'not-found': 1,
  ambiguous: 1,
  timeout: 4,
  host: 1,
  usage: 2,
}

/** The message says what failed, where, and what to do about it. */
export class LabError extends Error {
  readonly code: LabErrorCode

  constructor(code: LabErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LabError'
    this.code = code
  }
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The errno name of a system error ("ENOENT"), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
