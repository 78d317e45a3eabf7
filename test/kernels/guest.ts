// SPDX-License-Identifier: Apache-2.0
// Inside of the emulated machine: preflight, then the scenario; one line of JSON says how it went.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  collectFacts,
  featureCosts,
  preflight,
} from '../../packages/ebpf-l4/src/index.ts'
import type { GuestReport, Outcome } from './kernels.ts'
import { scenario } from './scenario.ts'

/** Emulated, a process of Node takes a second to start. */
const stepTimeoutMs = 40_000

const [uptime = '0'] = readFileSync('/proc/uptime', 'utf8').split(' ')
const objectDir = join(import.meta.dirname, '../../bpf/.output')
const facts = collectFacts({ objectDir, pinDir: '/sys/fs/bpf/pillion', cgroupRoot: '' })
const outcomes: Outcome[] = []
for (const [name, step] of Object.entries(scenario))
  outcomes.push(await tried(name, step))
const report: GuestReport = {
  release: facts.kernel,
  bootMs: Number(uptime) * 1000,
  programs: facts.programs,
  without: facts.lackingHelpers.map(({ feature, reason }) => ({
    feature,
    reason: `${featureCosts[feature]}; ${reason}`,
  })),
  failing: preflight(facts)
    .lines.filter(({ ok }) => !ok)
    .map(({ what, found }) => `${what}: ${found}`),
  outcomes,
}
console.log(JSON.stringify(report))
process.exit(0) // with the machine, whatever still runs ends

/** Never throws; what hangs is an outcome, too. */
async function tried(name: string, step: () => Promise<void>): Promise<Outcome> {
  const started = performance.now()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`not done in ${stepTimeoutMs / 1000} s`)),
      stepTimeoutMs,
    )
  })
  try {
    await Promise.race([step(), late])
    return { name, ms: Math.round(performance.now() - started) }
  } catch (error) {
    const [line = ''] = (error as Error).message.split('\n')
    return { name, error: line, ms: Math.round(performance.now() - started) }
  } finally {
    clearTimeout(timer)
  }
}
