// SPDX-License-Identifier: Apache-2.0
// What this node can do beyond the least, found out once at the start. What is lacking is said in the log, in /debug/features, as a
// metric and, through the operator, in the status of the Mesh: nobody has to guess why something does nothing.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { featureCosts, type Lacking, type OptionalFeature } from '@pillion/ebpf-l4'

/** `off`: not wanted here; `degraded`: wanted, and the node lacks what it takes. */
export interface Feature {
  readonly name: string
  readonly state: 'works' | 'degraded' | 'off'
  /** For people: what is missing and what to do; what is used where it works. */
  readonly reason: string
}

/** Bit of CAP_SYS_PTRACE in the sets of /proc/PID/status (linux/capability.h). */
const ptraceBit = 19n

/**
 * Whether executables of other processes can be looked at, which acceleration `Auto` needs (design 4.5). The kernel reports pids of its
 * first pid namespace, so `procDir` has to be the proc of that one, known by kthreadd, which is process 2 there and nowhere else;
 * and /proc/PID/exe of another user's process wants PTRACE_MODE_READ (proc(5)), that is CAP_SYS_PTRACE. Never throws.
 */
export function probeExecutables(procDir: string): Feature {
  const name = 'acceleration-auto'
  if (procDir === '') {
    return { name, state: 'off', reason: '--proc-dir is empty: it accelerates nobody' }
  }
  const lacking = [
    ...(readOr(join(procDir, '2/comm')) === 'kthreadd'
      ? []
      : [`${procDir} does not show the processes of the host: mount its /proc`]),
    ...(mayTrace(readOr('/proc/self/status'))
      ? []
      : ['CAP_SYS_PTRACE is missing, which reading /proc/PID/exe needs']),
  ]
  if (lacking.length === 0) {
    return { name, state: 'works', reason: `executables are read through ${procDir}` }
  }
  const reason = `${lacking.join('; ')}; Auto accelerates only what the agent finds in its own file system`
  return { name, state: 'degraded', reason }
}

/** What the datapath can do without, of which the kernel refused `lacking`. */
export function datapathFeatures(lacking: readonly Lacking[]): Feature[] {
  return (Object.keys(featureCosts) as OptionalFeature[]).map((name) => {
    const reasons = lacking.filter(({ feature }) => feature === name)
    if (reasons.length === 0)
      return { name, state: 'works', reason: 'the kernel allows it' }
    const why = reasons.map(({ reason }) => reason).join('; ')
    return { name, state: 'degraded', reason: `${featureCosts[name]} (${why})` }
  })
}

/** What the operator is told: "name: reason" of what is wanted and lacking. */
export function degradedOf(features: readonly Feature[]): string[] {
  return features
    .filter(({ state }) => state === 'degraded')
    .map(({ name, reason }) => `${name}: ${reason}`)
}

/** By the effective set in the text of /proc/PID/status. */
export function mayTrace(status: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'
  return ((BigInt(`0x${effective}`) >> ptraceBit) & 1n) === 1n
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
