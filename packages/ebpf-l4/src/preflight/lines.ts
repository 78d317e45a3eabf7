// SPDX-License-Identifier: Apache-2.0
// What the facts mean: one line each, that passes or says what is missing and what that costs. Pure.
import { attachments, featureCosts, type OptionalFeature } from '../attach.ts'
import type { Facts } from './facts.ts'
import { hookLines } from './hooks.ts'

/** One line of `pillion check node`. */
export interface PreflightLine {
  readonly what: string
  /** yes; no: the mesh does not run here; no with `optional`: it runs, without something. */
  readonly ok: boolean
  readonly optional?: boolean
  readonly found: string
  /** What a ✗ costs, and what to do; empty for a ✓. */
  readonly cost: string
}

/** What `/debug/preflight` and `--preflight -o json` say. */
export interface Preflight {
  readonly kernel: string
  /** The mesh runs here, perhaps without something. */
  readonly fit: boolean
  readonly lines: readonly PreflightLine[]
}

const stays = 'the mesh does not run on this node'

export function preflight(facts: Facts): Preflight {
  const lines = [
    kernelLine(facts),
    cgroupLine(facts),
    btfLine(facts),
    bpffsLine(facts),
    ...capabilityLines(facts.capabilities),
    ...memlockLines(facts),
    ...programLines(facts),
    ...facts.lackingHelpers.map(({ feature, reason }) => lacks(feature, reason)),
    ...hookLines(facts.hooks),
    jitLine(facts),
    unprivilegedLine(facts),
  ]
  const fit = lines.every(({ ok, optional }) => ok || optional === true)
  return { kernel: facts.kernel, fit, lines }
}

function passes(what: string, found: string): PreflightLine {
  return { what, ok: true, found, cost: '' }
}

function kernelLine({ kernel }: Facts): PreflightLine {
  return passes('kernel', kernel)
}

function cgroupLine({ cgroupMount, cgroupRoot, cgroupRootExists }: Facts): PreflightLine {
  const what = 'cgroup v2'
  if (cgroupMount === undefined) {
    const cost = `${stays}: programs attach to a cgroup; mount -t cgroup2 none /sys/fs/cgroup`
    return { what, ok: false, found: 'not mounted', cost }
  }
  if (!cgroupRootExists) {
    const found = `${cgroupRoot} is no directory of ${cgroupMount}`
    const cost = `${stays}: name the cgroup of all pods with --cgroup-root`
    return { what, ok: false, found, cost }
  }
  return passes(what, `${cgroupMount}, programs on ${cgroupRoot}`)
}

function btfLine({ btf }: Facts): PreflightLine {
  const what = 'kernel BTF'
  if (btf) return passes(what, '/sys/kernel/btf/vmlinux')
  const cost = `${stays}: programs find the fields of the kernel by it; a kernel with CONFIG_DEBUG_INFO_BTF has it`
  return { what, ok: false, found: 'no /sys/kernel/btf/vmlinux', cost }
}

function bpffsLine({ bpffs: { path, mounted } }: Facts): PreflightLine {
  const what = 'bpf file system'
  if (mounted) return passes(what, path)
  const cost = `${stays}: policy would end with the agent; mount -t bpf bpf /sys/fs/bpf`
  return { what, ok: false, found: `${path} is on another file system`, cost }
}

/** linux/capability.h. */
const bits = {
  CAP_NET_ADMIN: 12n,
  CAP_SYS_ADMIN: 21n,
  CAP_SYS_RESOURCE: 24n,
  CAP_PERFMON: 38n,
  CAP_BPF: 39n,
}
type Capability = keyof typeof bits

const holds = (effective: bigint, name: Capability): boolean =>
  ((effective >> bits[name]) & 1n) === 1n

const capabilityCosts = {
  CAP_BPF: 'no map is made and no program loaded',
  CAP_NET_ADMIN: 'programs for sockets and packets are neither loaded nor attached',
  CAP_PERFMON: 'programs may not read the sockets of the kernel, as ours do',
} as const

function capabilityLines(effective: bigint): PreflightLine[] {
  const has = (name: Capability): boolean => holds(effective, name)
  const admin = has('CAP_SYS_ADMIN')
  const missing = (['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'] as const).filter(
    // CAP_SYS_ADMIN stands for all that was split off it, which CAP_NET_ADMIN never was (capabilities(7)).
    (name) => !has(name) && !(admin && name !== 'CAP_NET_ADMIN'),
  )
  if (missing.length > 0) {
    return missing.map((name) => ({
      ...{ what: name, ok: false, found: 'missing' },
      cost: `${stays}: ${capabilityCosts[name]}; give it to the agent`,
    }))
  }
  const found = admin
    ? 'CAP_SYS_ADMIN, CAP_NET_ADMIN'
    : 'CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON'
  return [passes('capabilities', found)]
}

/**
 * Before Linux 5.11 maps are charged to the limit, which only CAP_SYS_RESOURCE may raise; later kernels charge the memory cgroup.
 * Who has every other right and is not permitted, has met it.
 */
function memlockLines(facts: Facts): PreflightLine[] {
  const { memlockBytes, capabilities, programs } = facts
  const met = programs.some(({ refused = '' }) =>
    /RLIMIT_MEMLOCK|create_map.*not permitted/.test(refused),
  )
  const hasRights = capabilityLines(capabilities).every(({ ok }) => ok)
  if (memlockBytes === undefined || !met || !hasRights) return []
  if (holds(capabilities, 'CAP_SYS_RESOURCE')) return []
  const found = `limited to ${memlockBytes} bytes, and no CAP_SYS_RESOURCE`
  const cost = `${stays}: this kernel charges maps to that limit; run the agent with unlimited memlock, or on Linux 5.11`
  return [{ what: 'locked memory', ok: false, found, cost }]
}

function programLines({ programs, programsError }: Facts): PreflightLine[] {
  const what = 'programs'
  if (programsError !== undefined) {
    const cost = `${stays}: nothing could be asked of the verifier`
    return [{ what, ok: false, found: programsError, cost }]
  }
  const refused = programs.filter((trial) => trial.refused !== undefined)
  if (refused.length === 0) {
    return [passes(what, `the verifier takes all ${programs.length}`)]
  }
  return refused.map(({ program, refused: reason = '' }) => {
    const feature = attachments.find((each) => each.program === program)?.feature
    const found = `refused: ${reason}`
    return feature === undefined
      ? { what: `program ${program}`, ok: false, found, cost: stays }
      : { ...lacks(feature, found), what: `program ${program}` }
  })
}

function lacks(feature: OptionalFeature, found: string): PreflightLine {
  return { what: feature, ok: false, optional: true, found, cost: featureCosts[feature] }
}

function jitLine({ jit }: Facts): PreflightLine {
  const what = 'JIT compiler'
  if (jit === undefined) return passes(what, 'cannot be asked in this network namespace')
  if (jit > 0) return passes(what, 'on')
  const cost =
    'programs are interpreted: connects and packets cost several times as much; sysctl net.core.bpf_jit_enable=1'
  return { what, ok: false, optional: true, found: 'off', cost }
}

function unprivilegedLine({ unprivilegedBpfDisabled: value }: Facts): PreflightLine {
  const what = 'unprivileged BPF'
  if (value === undefined) return passes(what, 'cannot be asked')
  if (value > 0) return passes(what, 'off')
  const cost =
    'any process of the node may load programs, which helps Spectre attacks and nobody needs; sysctl kernel.unprivileged_bpf_disabled=2'
  return { what, ok: false, optional: true, found: 'on', cost }
}
