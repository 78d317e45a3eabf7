// SPDX-License-Identifier: Apache-2.0
// Exit codes of `pillion`, and what is said about an error.
import { exitCodes, LabError, messageOf } from '@pillion/lab'
import { ApiError, OperatorError } from '@pillion/operator'

/**
 * 0 done; 1 failed, or the answer is no (not in force, differs, a ✗); 2 wrong usage; 3 nothing to ask: no lab runs, the API
 * server is not reached, the mesh is not installed; 4 not in time. `lab exec` passes on the command's own code.
 */
export const exitCode = { ok: 0, failed: 1, usage: 2, notRunning: 3, timeout: 4 } as const

/** Why a command for a cluster failed. */
export type CliErrorCode = 'failed' | 'usage' | 'not-installed' | 'timeout'

/** The message says what failed, where, and what to do about it. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly code: CliErrorCode

  constructor(code: CliErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

const ofCli: Readonly<Record<CliErrorCode, number>> = {
  failed: exitCode.failed,
  usage: exitCode.usage,
  'not-installed': exitCode.notRunning,
  timeout: exitCode.timeout,
}

/** What a thrown value means to a shell. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CliError) return ofCli[error.code]
  if (error instanceof LabError)
    return error.code === 'timeout' ? exitCode.timeout : exitCodes[error.code]
  if (error instanceof ApiError && error.status === 0) return exitCode.notRunning
  if (error instanceof OperatorError && error.code === 'SOURCE')
    return exitCode.notRunning
  return exitCode.failed
}

/** What a thrown value means to a person. */
export function explainError(error: unknown): string {
  if (error instanceof LabError && error.code === 'not-running') {
    return `no lab is running (${error.message}); start one: pillion lab up DIR; or name a cluster with --kubeconfig`
  }
  if (error instanceof ApiError) return `${error.message}${adviceOf(error)}`
  return messageOf(error)
}

/** What an admin endpoint said instead of an answer; 400 is about what was asked, and the person asked it, not a path. */
export function explainAnswer(
  who: string,
  path: string,
  status: number,
  text: string,
): string {
  const said = errorText(text)
  return status === 400 ? said : `${who}, ${path}: HTTP ${status}: ${said}`
}

function errorText(text: string): string {
  try {
    const { error, message } = JSON.parse(text) as { error?: string; message?: string }
    return error ?? message ?? text
  } catch {
    return text.trim()
  }
}

function adviceOf({ status }: ApiError): string {
  if (status === 0) return '; is the API server there? See --kubeconfig and --context'
  if (status === 401)
    return '; the API server does not know these credentials: log in again, or choose others with --context'
  if (status === 403) return '; `pillion check` lists the permissions that are missing'
  return ''
}
