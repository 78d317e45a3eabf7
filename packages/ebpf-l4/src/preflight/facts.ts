// SPDX-License-Identifier: Apache-2.0
// What a preflight finds on a node, before anything is said about it.
import type { Lacking, ProgramTrial } from '../load.ts'

/** Where things are, or would be. */
export interface PreflightOptions {
  /** Directory of the compiled programs, bpf/.output. */
  readonly objectDir: string
  /** Of this node, on a bpf file system; need not be there. */
  readonly pinDir: string
  /** cgroup v2 directory of all pods and processes of the node; empty: the root of the hierarchy. */
  readonly cgroupRoot: string
}

/** A program on a hook. */
export interface HookProgram {
  readonly id: number
  /** Absent without CAP_SYS_ADMIN: then the kernel tells nobody. */
  readonly name?: string
  /** Put there by an agent of this node. */
  readonly ours: boolean
  /** The cgroup that it is attached to: ours, or one above. */
  readonly cgroup: string
}

/** BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI, or neither: how the programs of a cgroup let others in. */
export type Sharing = 'exclusive' | 'override' | 'multi'

export interface Hook {
  /** Our program for it, and the cgroup where it is or will be. */
  readonly program: string
  readonly cgroup: string
  /** All that run, in their order; empty when it cannot be asked. */
  readonly programs: readonly HookProgram[]
  /** Cgroups with programs, from that one upwards. */
  readonly sharing: readonly { readonly cgroup: string; readonly mode: Sharing }[]
  /** Why it cannot be asked. */
  readonly error?: string
}

export interface Facts {
  readonly kernel: string
  /** Where cgroup v2 is mounted; absent: nowhere. */
  readonly cgroupMount?: string
  readonly cgroupRoot: string
  /** It is a directory below the mount. */
  readonly cgroupRootExists: boolean
  /** /sys/kernel/btf/vmlinux can be read. */
  readonly btf: boolean
  /** The pin directory is, or would be, on a bpf file system. */
  readonly bpffs: { readonly path: string; readonly mounted: boolean }
  /** The effective set of this process, as in /proc/self/status. */
  readonly capabilities: bigint
  /** Soft limit on locked memory; absent: unlimited. */
  readonly memlockBytes?: number
  /** kernel.unprivileged_bpf_disabled: 0 anybody may, 1 and 2 not; absent: cannot be read. */
  readonly unprivilegedBpfDisabled?: number
  /** net.core.bpf_jit_enable: 0 off; absent: cannot be read, as in a network namespace of its own. */
  readonly jit?: number
  /** Empty with `programsError`. */
  readonly programs: readonly ProgramTrial[]
  readonly programsError?: string
  /** Helpers that the programs do without. */
  readonly lackingHelpers: readonly Lacking[]
  readonly hooks: readonly Hook[]
}
