// SPDX-License-Identifier: Apache-2.0

/**
 * Why the agent refuses; `docs/errors.md` lists the same.
 *
 * - `OPTION`: a flag or variable is unknown, missing or malformed; exit code 2.
 * - `STATE`: the saved configuration cannot be read; the agent goes on without it.
 * - `QUESTION`: a debug request asks for something that does not exist or is ambiguous; HTTP 400.
 */
export type AgentErrorCode = 'OPTION' | 'STATE' | 'QUESTION'

/** The one error class of this package. The message says what, where, and what to do. */
export class AgentError extends Error {
  override readonly name = 'AgentError'
  readonly code: AgentErrorCode

  constructor(code: AgentErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The errno code of a system call ("ENOENT"), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : undefined
}
