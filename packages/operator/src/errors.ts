// SPDX-License-Identifier: Apache-2.0

/**
 * Why the operator refused or failed; `docs/errors.md` lists the same.
 *
 * - `USAGE`: the command line cannot be used; exit code 2.
 * - `SOURCE`: the source of objects cannot be read at all (a single bad file or object is never this).
 * - `LISTEN`: a socket cannot be opened.
 * - `STATE`: what has to survive a restart cannot be read or written.
 */
export type OperatorErrorCode = 'USAGE' | 'SOURCE' | 'LISTEN' | 'STATE'

/** The one error class of this package: what failed, where, what to do. */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
  readonly code: OperatorErrorCode

  constructor(code: OperatorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The errno name of a system error ("ENOENT"), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}
