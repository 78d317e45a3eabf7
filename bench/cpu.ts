// SPDX-License-Identifier: Apache-2.0
// CPU time and memory of every process of the lab, from cgroup accounting.
//
// cgroup v2 keeps cpu.stat in every directory, also where its cpu controller belongs to v1 (hybrid hosts), so the lab's
// own cgroups are enough. The kernel charges work done in a softirq to whoever was running; what ran in ksoftirqd is in no
// cgroup of the lab and shows only in the machine's total.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** CPU time so far, microseconds, by group: "pod/<uid>", "node-1/agent", "node-1/proxy", "lab" (operator, supervisor). */
export type CpuTimes = ReadonlyMap<string, number>

/** Mount point of cgroup v2: its own, or beside v1 hierarchies. */
export function cgroupMount(
  mounts: string = readFileSync('/proc/mounts', 'utf8'),
): string {
  const line = mounts.split('\n').find((text) => text.split(' ')[2] === 'cgroup2')
  const path = line?.split(' ')[1]
  if (path === undefined) throw new Error('no cgroup v2 hierarchy is mounted')
  return path
}

const labRoot = (): string => join(cgroupMount(), 'pillion-lab')

/** `usage_usec` of a cpu.stat. */
export function parseUsageUs(cpuStat: string): number {
  const match = /^usage_usec (\d+)$/m.exec(cpuStat)
  return match?.[1] === undefined ? 0 : Number(match[1])
}

const usageUs = (path: string): number =>
  parseUsageUs(readFileSync(join(path, 'cpu.stat'), 'utf8'))

const children = (path: string): string[] => {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    )
  } catch {
    return [] // ended between two looks
  }
}

/** Directories of the lab's groups. */
function groups(): Map<string, string> {
  const found = new Map<string, string>()
  for (const node of children(labRoot())) {
    const path = join(labRoot(), node)
    if (!node.startsWith('node-')) found.set(`lab/${node}`, path)
    for (const name of children(join(path, 'system')))
      found.set(`${node}/${name}`, join(path, 'system', name))
    for (const pod of children(join(path, 'kubepods'))) {
      if (pod.startsWith('pod'))
        found.set(`pod/${pod.slice('pod'.length)}`, join(path, 'kubepods', pod))
    }
  }
  return found
}

/** CPU time of every group now, and of the whole machine as "machine". */
export function cpuTimes(): CpuTimes {
  const times = new Map<string, number>([
    ['machine', machineBusyUs(readFileSync('/proc/stat', 'utf8'))],
  ])
  for (const [name, path] of groups()) times.set(name, usageUs(path))
  return times
}

/** Time that all processors were not idle, from /proc/stat (in ticks of 10 ms). */
export function machineBusyUs(stat: string): number {
  const fields = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').map(Number)
  // user nice system idle iowait irq softirq; steal is somebody else's
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields
  return (user + nice + system + irq + softirq) * 10_000
}

/** What each group used between two looks; groups that did not exist before count from zero. */
export function cpuBetween(before: CpuTimes, after: CpuTimes): Map<string, number> {
  return new Map([...after].map(([name, us]) => [name, us - (before.get(name) ?? 0)]))
}

/** Memory of a group: proportional set size of its processes, bytes. */
export function memoryBytes(): Map<string, number> {
  const sums = new Map<string, number>()
  for (const [name, path] of groups()) {
    const pids = [path, ...children(path).map((child) => join(path, child))].flatMap(
      readPids,
    )
    sums.set(
      name,
      pids.reduce((sum, pid) => sum + pssBytes(pid), 0),
    )
  }
  return sums
}

function readPids(path: string): string[] {
  try {
    return readFileSync(join(path, 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter((pid) => pid !== '')
  } catch {
    return []
  }
}

function pssBytes(pid: string): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    return Number(/^Pss: +(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * 1024
  } catch {
    return 0 // ended between two looks
  }
}
