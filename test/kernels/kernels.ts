// SPDX-License-Identifier: Apache-2.0
// The kernels that are tried: Debian's packages, one of each generation. Pure.

export interface Kernel {
  /** As `make test-kernels KERNELS="6.1"` names it. */
  readonly name: string
  /** The release of Debian whose linux-image-amd64 it is; its newest candidate is taken. */
  readonly debian: string
  /** Suites below debian/ and, ending in -security, below debian-security/. */
  readonly suites: readonly string[]
}

export const kernels: readonly Kernel[] = [
  { name: '5.10', debian: 'Debian 11', suites: ['bullseye', 'bullseye-security'] },
  { name: '6.1', debian: 'Debian 12', suites: ['bookworm', 'bookworm-security'] },
  { name: '6.12', debian: 'Debian 13', suites: ['trixie', 'trixie-security'] },
  { name: 'newest', debian: 'Debian 13 backports', suites: ['trixie-backports'] },
]

/** One thing that was tried in a kernel. */
export interface Outcome {
  readonly name: string
  /** Why not; absent: it works. */
  readonly error?: string
  readonly ms: number
}

/** What a guest says, as one line of JSON. */
export interface GuestReport {
  /** uname -r. */
  readonly release: string
  readonly bootMs: number
  readonly programs: readonly { readonly program: string; readonly refused?: string }[]
  /** Features that this kernel does not allow, and what that costs. */
  readonly without: readonly { readonly feature: string; readonly reason: string }[]
  /** Lines of the preflight that do not pass, as text. */
  readonly failing: readonly string[]
  readonly outcomes: readonly Outcome[]
}

/** Of one kernel; without a report the guest did not get as far. */
export interface Result {
  readonly kernel: Kernel
  readonly report?: GuestReport
  readonly error?: string
  readonly seconds: number
}

/** All programs were taken and all of the scenario works. */
export function isGood({ report }: Result): boolean {
  return (
    report !== undefined &&
    report.programs.every(({ refused }) => refused === undefined) &&
    report.outcomes.every(({ error }) => error === undefined)
  )
}
