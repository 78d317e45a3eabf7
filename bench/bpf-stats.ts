// SPDX-License-Identifier: Apache-2.0
// What the kernel itself says about our programs and maps.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

const switchFile = '/proc/sys/kernel/bpf_stats_enabled'

interface Program {
  readonly name?: string
  readonly run_time_ns?: number
  readonly run_cnt?: number
}

interface BpfMap {
  readonly name?: string
  readonly bytes_memlock?: number
}

const bpftool = (kind: 'prog' | 'map'): unknown =>
  JSON.parse(
    execFileSync('bpftool', ['-j', kind, 'show'], {
      encoding: 'utf8',
      maxBuffer: 64 << 20,
    }),
  )

/** Sum of run time and runs of the programs whose name matches. */
function totals(name: RegExp): { timeNs: number; runs: number } {
  const sum = { timeNs: 0, runs: 0 }
  for (const program of bpftool('prog') as Program[]) {
    if (!name.test(program.name ?? '')) continue
    sum.timeNs += program.run_time_ns ?? 0
    sum.runs += program.run_cnt ?? 0
  }
  return sum
}

/** Mean run time of matching programs while `work` runs, nanoseconds; undefined when they did not run. */
export async function meanRunTimeNs(
  name: RegExp,
  work: () => Promise<unknown>,
): Promise<number | undefined> {
  const before = readFileSync(switchFile, 'utf8').trim()
  writeFileSync(switchFile, '1')
  try {
    const start = totals(name)
    await work()
    const end = totals(name)
    const runs = end.runs - start.runs
    return runs === 0 ? undefined : (end.timeNs - start.timeNs) / runs
  } finally {
    writeFileSync(switchFile, before)
  }
}

/** Memory that the kernel charges to our maps (of all nodes), bytes. */
export function mapBytes(): number {
  const maps = bpftool('map') as BpfMap[]
  return maps.reduce(
    (sum, map) => sum + (map.name?.startsWith('pl_') ? (map.bytes_memlock ?? 0) : 0),
    0,
  )
}
