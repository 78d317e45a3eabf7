// SPDX-License-Identifier: Apache-2.0
// `make bench-hitless`: what the replacement of a proxy, its death and a large change of its configuration cost the requests
// that go through it. Exit code 1 when one failed that should not have. Needs root; about ten minutes.
//
//   node bench/hitless/run.ts [--requests N] [--replacements N] [--out FILE]
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { cgroupMount } from '../cpu.ts'
import { labApply, labDown, labReplace, labUp } from '../lab.ts'
import { machine } from '../machine.ts'
import { manyRoutes } from './routes.ts'
import { Load, type Phase } from './load.ts'

const { values: options } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000000' },
    replacements: { type: 'string', default: '50' },
    out: {
      type: 'string',
      default: join(import.meta.dirname, '../results/hitless.json'),
    },
  },
})
const requests = Number(options.requests)
const replacements = Number(options.replacements)

const node = 'node-1'
const calmMs = 10_000
const gaps = Math.ceil(replacements / 10)
const kills = Math.ceil(replacements / 10)
/** A worker that lived this long is started anew at once when it dies. */
const betweenKillsMs = 11_000
/** What is in flight at once is all that the death of a worker may cost: the widths of client.ts. */
const inFlight = 68

/** A worker of the node's proxy: what a crash would take down. */
function workerPid(): number {
  const cgroup = join(cgroupMount(), 'pillion-lab', node, 'system/proxy')
  const pids = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n')
  const worker = pids.find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker-main'),
  )
  if (worker === undefined) throw new Error(`no worker in ${cgroup}`)
  return Number(worker)
}

async function measure(load: Load): Promise<Record<string, Phase>> {
  const calm = await load.phase('calm', () => sleep(calmMs))
  const replaced = await load.phase('replaced, the successor takes over', async () => {
    for (let i = 1; i <= replacements; i++) {
      await labReplace(node, false)
      await load.until(Math.floor((requests * i) / replacements))
    }
  })
  const gap = await load.phase('replaced, with a gap', async () => {
    for (let i = 0; i < gaps; i++) {
      await labReplace(node, true)
      await sleep(1000)
    }
  })
  // Kept connections went past the proxy in the gaps: new ones are made to it.
  await load.restart()
  const again = await load.phase('calm again', () => sleep(calmMs))
  const pushed = await load.phase('1000 routes pushed', async () => {
    const [file, done] = manyRoutes(1000)
    await labApply(file)
    await sleep(calmMs / 2)
    done()
  })
  const after = await load.phase('calm, with 1000 routes', () => sleep(calmMs))
  const killed = await load.phase('worker killed', async () => {
    for (let i = 0; i < kills; i++) {
      await sleep(betweenKillsMs)
      process.kill(workerPid(), 'SIGKILL')
      await sleep(1000)
    }
  })
  return { calm, replaced, gap, again, pushed, after, killed }
}

function verdicts(phases: Record<string, Phase>): string[] {
  return Object.entries(phases).flatMap(([name, { failed, reasons }]) => {
    const allowed = name === 'killed' ? kills * inFlight : 0
    return failed <= allowed
      ? []
      : [`${name}: ${failed} failed ${JSON.stringify(reasons)}`]
  })
}

let wrong: string[]
try {
  await labUp(import.meta.dirname, true)
  const load = await Load.start()
  const phases = await measure(load)
  await load.end()
  wrong = verdicts(phases)
  const result = { ...machine(), replacements, gaps, kills, inFlight, phases }
  writeFileSync(options.out, `${JSON.stringify(result, null, 2)}\n`)
} finally {
  await labDown()
}
for (const line of wrong) console.error(line)
process.exitCode = wrong.length === 0 ? 0 : 1
