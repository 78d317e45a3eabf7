// SPDX-License-Identifier: Apache-2.0
// Inside of the emulated machine: preflight, then the scenario; one line of JSON says how it went.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  collectFacts,
  featureCosts,
  preflight,
} from '../../packages/ebpf-l4/src/index.ts'
import type { GuestReport, Outcome } from './kernels.ts'
import { scenario } from './scenario.ts'

/** Emulated, a process of Node takes a second to start, on a busy machine ten; the whole is bounded from outside. */
const stepTimeoutMs = 120_000

const [uptime = '0'] = readFileSync('/proc/uptime', 'utf8').split(' ')
const objectDir = join(import.meta.dirname, '../../bpf/.output')
const facts = collectFacts({ objectDir, pinDir: '/sys/fs/bpf/pillion', cgroupRoot: '' })
const outcomes: Outcome[] = []
const rights = 'the three capabilities suffice, without a limit on locked memory'
outcomes.push(await tried(rights, unprivileged))
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

/** As the agent of a DaemonSet: uid 0 with three capabilities and no other power. */
function unprivileged(): Promise<void> {
  const main = join(import.meta.dirname, '../../packages/node-agent/src/main.ts')
  const caps = '--bounding-set=-all,+bpf,+net_admin,+perfmon'
  const argv = ['--memlock=unlimited', 'setpriv', caps, process.execPath, main]
  const run = spawnSync('prlimit', [...argv, '--preflight'], {
    encoding: 'utf8',
    timeout: stepTimeoutMs,
  })
  if (run.status === 0) return Promise.resolve()
  const failing = run.stdout.split('\n').filter((line) => line.startsWith('✗'))
  return Promise.reject(new Error(failing.join('; ') || run.stderr.slice(-200)))
}

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
