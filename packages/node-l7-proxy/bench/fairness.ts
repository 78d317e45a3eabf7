// SPDX-License-Identifier: Apache-2.0
// `make bench-fairness`: what a service gets while another one of the same worker is abused, and what the worker takes for it.
// Calm and abuse alternate; each abuse stands between two calms of its own.
//
//   node packages/node-l7-proxy/bench/fairness.ts [--rounds N] [--only NAME] [--quick] [--out FILE]
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, setPriority } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { L7Protocol } from '@pillion/contract'
import { startProxy } from '../test/support/proxy.ts'
import { endpoint, rule, service, table } from '../test/support/resources.ts'
import type { Phase } from './fairness-victim.ts'

/** docs/l7-limits.md: what abuse may add to a worker that served nothing but the victim. */
const boundMib = 896

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '2' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    out: {
      type: 'string',
      default: join(import.meta.dirname, '../../../bench/results/fairness.json'),
    },
  },
})
const rounds = values.quick ? 1 : Number(values.rounds)
const calmMs = values.quick ? 1000 : 1500
const mib = 1_048_576

type Latency = { p50Ms: number; p99Ms: number; maxMs: number }
type Seen = { kept: Latency; fresh: Latency; requests: number; failures: string[] }
type Round = { before: Seen; during: Seen; after: Seen; peakMib: number; came: string }

const children: ChildProcess[] = []

/** `nice` keeps what only makes load from taking the CPU of what is measured; less than 0 is granted to root only. */
function start(script: string, nice: number, ...args: unknown[]): ChildProcess {
  const child = fork(join(import.meta.dirname, script), args.map(String))
  children.push(child)
  if (child.pid !== undefined && (nice > 0 || process.getuid?.() === 0))
    setPriority(child.pid, nice)
  return child
}

async function answer<T>(child: ChildProcess): Promise<T> {
  const over = new AbortController()
  const { signal } = over
  const ended = once(child, 'exit', { signal }).then(() => {
    throw new Error(`${child.spawnargs[1]} ended early`)
  })
  try {
    const [value] = (await Promise.race([once(child, 'message', { signal }), ended])) as [
      T,
    ]
    return value
  } finally {
    ended.catch(() => undefined)
    over.abort()
  }
}

async function ask<T>(child: ChildProcess, word: string): Promise<T> {
  const reply = answer<T>(child)
  child.send(word)
  return reply
}

const [abusedPort, victimPort] = await Promise.all([
  answer<number>(start('fairness-backend.ts', 10)),
  answer<number>(start('fairness-backend.ts', -5)),
])
const proxy = await startProxy(
  [
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', abusedPort),
    service(2, 'h2', L7Protocol.HTTP2),
    table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
    service(3, 'victim', L7Protocol.HTTP),
    endpoint(3, 'victim', victimPort),
  ],
  ['--header-timeout', '5s'], // half of the default, for a shorter run
)
const { workers } = JSON.parse((await proxy.admin('/debug/config')).body) as {
  workers: number[]
}
const victim = start('fairness-victim.ts', -5, proxy.port)
const abuser = start('fairness-abuser.ts', 10, proxy.port, values.quick ? 0.1 : 1)
const names = (await answer<string[]>(abuser)).filter(
  (name) => values.only === undefined || name === values.only,
)

/** Resident memory of the workers, without asking them. */
function residentMib(): number {
  const pages = workers.map(
    (pid) => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096,
  )
  return pages.reduce((sum, bytes) => sum + bytes, 0) / mib
}

async function phase(load: () => Promise<unknown>): Promise<Seen> {
  await ask(victim, 'begin')
  await load()
  const { kept, fresh, failures } = await ask<Phase>(victim, 'end')
  return {
    kept: latency(kept),
    fresh: latency(fresh),
    requests: kept.length + fresh.length,
    failures: [...new Set(failures)],
  }
}

function latency(ms: readonly number[]): Latency {
  const sorted = ms.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN)
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

async function measure(name: string): Promise<Round> {
  const before = await phase(async () => sleep(calmMs))
  let peak = 0
  const watch = setInterval(() => (peak = Math.max(peak, residentMib())), 20)
  let came = ''
  const during = await phase(async () => {
    came = await ask<string>(abuser, name)
  })
  clearInterval(watch)
  await sleep(500) // sockets of the abuse close
  const after = await phase(async () => sleep(calmMs))
  return { before, during, after, peakMib: peak - baselineMib, came }
}

/** Middle value of the rounds. */
function middle(list: readonly Round[], read: (round: Round) => number): number {
  const sorted = list.map(read).toSorted((a, b) => a - b)
  return round(sorted[Math.floor(sorted.length / 2)] ?? NaN)
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

let baselineMib = 0
try {
  await sleep(2000) // the first requests compile
  baselineMib = residentMib()
  const seen = new Map<string, Round[]>(names.map((name) => [name, []]))
  for (let i = 0; i < rounds; i++)
    for (const [name, list] of seen) {
      const one = await measure(name)
      list.push(one)
      const { fresh, kept, failures } = one.during
      console.log(
        `${name}: ${one.came}; kept p99 ${one.before.kept.p99Ms} → ${kept.p99Ms} ms, most ${kept.maxMs}; ` +
          `new p99 ${one.before.fresh.p99Ms} → ${fresh.p99Ms} ms, most ${fresh.maxMs}; ` +
          `${failures.length} kinds of failure ${failures[0] ?? ''}; +${Math.round(one.peakMib)} MiB`,
      )
    }
  const abuses = [...seen].map(([abuse, list]) => ({
    abuse,
    came: list.map(({ came }) => came),
    peakMib: round(Math.max(...list.map(({ peakMib }) => peakMib))),
    failures: list.flatMap((each) =>
      [each.before, each.during, each.after].flatMap(({ failures }) => failures),
    ),
    victim: Object.fromEntries(
      (['kept', 'fresh'] as const).map((kind) => [
        kind,
        Object.fromEntries(
          (['before', 'during', 'after'] as const).map((when) => [
            when,
            {
              p50Ms: middle(list, (each) => each[when][kind].p50Ms),
              p99Ms: middle(list, (each) => each[when][kind].p99Ms),
              maxMs: round(Math.max(...list.map((each) => each[when][kind].maxMs))),
            },
          ]),
        ),
      ]),
    ),
  }))
  const met = {
    victimNeverFailed: abuses.every(({ failures }) => failures.length === 0),
    memoryWithinBound: abuses.every(({ peakMib }) => peakMib <= boundMib),
    nothingCrashed: (await proxy.metric('pillion_worker_crashes_total')) === 0,
  }
  const machine = {
    ...{ cpu: cpus()[0]?.model, cores: cpus().length },
    ...{ kernel: release(), node: process.version },
  }
  const report = {
    date: new Date().toISOString(),
    ...{ machine, quick: values.quick, rounds, boundMib },
    ...{ baselineMib: round(baselineMib), met, abuses },
  }
  writeFileSync(values.out, `${JSON.stringify(report, undefined, 2)}\n`)
  console.log(met)
  if (!Object.values(met).every(Boolean)) process.exitCode = 1
} finally {
  for (const child of children) child.disconnect()
  await proxy.stop()
}
