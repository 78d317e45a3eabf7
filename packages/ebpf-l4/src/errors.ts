// SPDX-License-Identifier: Apache-2.0

/**
 * Why an operation on the datapath failed; `docs/errors.md` lists the same.
 *
 * - `NOT_PERMITTED`: a capability is missing (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON).
 * - `NO_BPFFS`: the pin directory is not on a bpf file system.
 * - `FOREIGN_OWNER`: the pin directory belongs to another agent that is alive, or to other software.
 * - `INCOMPATIBLE`: pinned maps have another layout than this build.
 * - `REJECTED`: the verifier refused a program; `log` has its reasons.
 * - `MAP_FULL`: a map has no room; what is in force stays.
 * - `SYSTEM`: anything else; `errno` says what.
 */
export type BpfErrorCode =
  | 'NOT_PERMITTED'
  | 'NO_BPFFS'
  | 'FOREIGN_OWNER'
  | 'INCOMPATIBLE'
  | 'REJECTED'
  | 'MAP_FULL'
  | 'SYSTEM'

/** What the native binding throws. */
interface NativeError extends Error {
  errno?: number
  operation?: string
  log?: string
}

const errnoCodes: Readonly<Record<number, BpfErrorCode>> = {
  1: 'NOT_PERMITTED', // EPERM
  7: 'MAP_FULL', // E2BIG: a hash is at max_entries
  28: 'MAP_FULL', // ENOSPC: an LPM trie is
}

/** The one error class of this package. The message says what failed and what to do. */
export class BpfError extends Error {
  override readonly name = 'BpfError'
  readonly code: BpfErrorCode
  readonly errno: number | undefined
  /** libbpf's and the verifier's words, if there were any. */
  readonly log: string | undefined

  constructor(code: BpfErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    const native = options.cause as NativeError | undefined
    this.code = code
    this.errno = native?.errno
    this.log = native?.log
  }

  /** Wraps what the binding threw while doing `operation`. */
  static from(operation: string, cause: unknown, code?: BpfErrorCode): BpfError {
    if (cause instanceof BpfError) return cause
    const native = cause as NativeError
    const known = code ?? errnoCodes[native.errno ?? 0] ?? 'SYSTEM'
    return new BpfError(
      known,
      `${operation}: ${native.message}${advice(known, native)}`,
      {
        cause,
      },
    )
  }
}

function advice(code: BpfErrorCode, native: NativeError): string {
  switch (code) {
    case 'NOT_PERMITTED':
      return '; the agent needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON'
    case 'MAP_FULL':
      return '; the map is full, the last good state stays in force'
    case 'REJECTED':
      return `; the kernel refused the program:\n${(native.log ?? '').slice(-4000)}`
    default:
      return ''
  }
}

/** One line of what libbpf and the verifier said, without their numbers: the last thing before they gave up. */
export function reasonOf(error: unknown): string {
  const { message, log = '' } = error as NativeError
  const lines = log.split('\n').map((line) => line.trim())
  const end = lines.findLastIndex((line) => line.includes('END PROG LOAD LOG'))
  const words = lines.slice(0, Math.max(end, 0)).findLast(isReason)
  return words ?? lines.find((line) => line !== '')?.replace(/^libbpf: /, '') ?? message
}

function isReason(line: string): boolean {
  return line !== '' && !/^(processed \d+ insns|libbpf:)/.test(line)
}
