// SPDX-License-Identifier: Apache-2.0
// `make bench-telemetry`: what it costs to tell of connections. The same pods and processes throughout; each round loads the
// programs with all telemetry, with sums by identities only, and with none, in an order that changes from round to round.
// Needs root, wrk and nginx.
//
//   node packages/ebpf-l4/bench/telemetry.ts [--rounds N] [--seconds N] [--out FILE]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { EventKind, type TelemetryLevel } from '../src/index.ts'
import { native } from '../src/native.ts'
import { Host } from '../test/support/host.ts'

const root = join(import.meta.dirname, '../../..')
const driver = join(root, 'bench/load/.output/connect')
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '12' },
    seconds: { type: 'string', default: '1' },
    out: { type: 'string', default: join(root, 'bench/results/telemetry.json') },
  },
})
const [rounds, seconds] = [Number(options.rounds), Number(options.seconds)]
interface Level {
  readonly telemetry: TelemetryLevel
  readonly what: string
  /** The reader's: so many a turn, so often. The agent's own are 1024 in 50 ms (packages/node-agent/src/agent.ts). */
  readonly eventsPerRead: number
  readonly pollMs: number
}

const agentReads = { eventsPerRead: 1024, pollMs: 50 }
const levels = {
  off: { telemetry: 'off', what: 'none', ...agentReads },
  sums: { telemetry: 'sums', what: 'sums by identities', ...agentReads },
  all: {
    telemetry: 'all',
    what: 'sums and events, as many as the agent reads',
    ...agentReads,
  },
  every: {
    ...{ telemetry: 'all', what: 'sums and every event, read five times as often' },
    ...{ eventsPerRead: 4096, pollMs: 10 },
  },
} as const satisfies Record<string, Level>
type LevelId = keyof typeof levels
const levelIds = Object.keys(levels) as LevelId[]
const compared = ['sums', 'all', 'every'] as const
const address = '172.31.0.1'

/** One level in one round. */
interface Sample {
  readonly perSecond: number
  /** Of client, server and the kernel on their behalf, microseconds a connection or request. */
  readonly cpuUs: number
  /** Of who reads the events, the same. */
  readonly readerUs: number
  /** Run time of our programs, nanoseconds a connection or request; by the kernel's statistics, in a run of its own. */
  readonly bpfNs: number
  /** Events told of those that there were; 1 where none are told. */
  readonly told: number
}

const host = await Host.create(['client', 'server'])
const [client, server] = [host.pod('client'), host.pod('server')]
const dir = mkdtempSync(join(tmpdir(), 'pillion-bench-'))

/** As the agent does, the last ones are kept. */
const kept: unknown[] = []
let read = 0
function readEvents({ eventsPerRead }: Level): void {
  const records = host.datapath.readEvents(eventsPerRead)
  for (let i = 0; i < records.length; i++)
    if (records.kind(i) !== EventKind.EVENT_EXE) kept[read++ % 4096] = records
}

const podsCpuUs = (): number => {
  const stat = readFileSync(join(host.root, 'cpu.stat'), 'utf8')
  return Number(/^usage_usec (\d+)/m.exec(stat)?.[1])
}
const lost = (): number => host.datapath.counters()['COUNTER_EVENT_LOST'] ?? 0

type Load = (seconds: number) => Promise<{ requests: number; seconds: number }>

const run = async (argv: string[], took: number): Promise<string> => {
  const { out, err } = await host.run(client, argv, (took + 20) * 1000)
  if (out === '') throw new Error(`${argv[0] ?? ''}: ${err}`)
  return out
}

const connect: Load = async (took) =>
  JSON.parse(
    await run([driver, 'drive', address, '80', String(took), '16'], took),
  ) as Awaited<ReturnType<Load>>

const request: Load = async (took) => {
  const argv = ['wrk', '-t1', '-c16', `-d${took}s`, `http://${address}:81/`]
  const out = await run(argv, took)
  const [, requests, unit] = /(\d+) requests in ([\d.]+)s/.exec(out) ?? []
  if (requests === undefined) throw new Error(out)
  return { requests: Number(requests), seconds: Number(unit) }
}

/** Statistics make the programs dearer, so this is no part of the measurement; it warms up for it. */
async function runTimeNs(load: Load): Promise<number> {
  const total = () => host.datapath.programs().reduce((sum, p) => sum + p.runTimeNs, 0)
  const stats = native.enableStats()
  try {
    const before = total()
    const { requests } = await load(1)
    return (total() - before) / requests
  } finally {
    native.closeFd(stats)
  }
}

async function measure(load: Load, { pollMs }: Level): Promise<Sample> {
  const bpfNs = await runTimeNs(load)
  await sleep(2 * pollMs)
  const before = { cpu: podsCpuUs(), own: process.cpuUsage(), read, lost: lost() }
  const { requests, seconds: took } = await load(seconds)
  const own = process.cpuUsage(before.own)
  const events = read - before.read
  const missed = lost() - before.lost
  return {
    perSecond: requests / took,
    cpuUs: (podsCpuUs() - before.cpu) / requests,
    bpfNs,
    readerUs: (own.user + own.system) / requests,
    told: events + missed === 0 ? 1 : events / (events + missed),
  }
}

const spread = (all: readonly number[]) => {
  const sorted = all.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const [low = NaN, high = NaN] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]]
  return { median: (low + high) / 2, min: sorted[0] ?? NaN, max: sorted.at(-1) ?? NaN }
}

type Series = Record<LevelId, Sample[]>

const ratio = (a: number, b: number): number => a / b
const minus = (a: number, b: number): number => a - b

/** A level beside `off` in the same round, in each round. */
const pairs =
  (series: Series, level: (typeof compared)[number]) =>
  (field: keyof Sample, compare: (a: number, b: number) => number): number[] =>
    series[level].map((sample, i) =>
      compare(sample[field], series.off[i]?.[field] ?? NaN),
    )

const loads = {
  connect: {
    what: 'connection set-up: connect, one byte each way, close',
    load: connect,
  },
  request: { what: 'requests on open connections, accelerated', load: request },
}

try {
  writeFileSync(
    join(dir, 'nginx.conf'),
    `worker_processes 1; pid ${dir}/pid; error_log stderr;
events {} http { access_log off; keepalive_requests 1000000000;
server { listen 8081; return 200 "${'x'.repeat(120)}"; } }`,
  )
  host.start(server, [driver, 'serve', '8080'])
  host.start(server, ['nginx', '-c', join(dir, 'nginx.conf'), '-g', 'daemon off;'])
  const backend = (port: number) => [{ pod: server, port }]
  host.service({ address, port: 80, backends: backend(8080) })
  host.service({ address, port: 81, backends: backend(8081) })
  const series = Object.fromEntries(
    Object.keys(loads).map((id) => [id, { off: [], sums: [], all: [], every: [] }]),
  ) as unknown as Record<keyof typeof loads, Series>
  for (let round = 0; round < rounds; round++) {
    const order = [...levelIds.slice(round % 4), ...levelIds.slice(0, round % 4)]
    for (const id of round % 2 === 0 ? order : order.toReversed()) {
      const level = levels[id]
      host.datapath.close()
      await host.open({ telemetry: level.telemetry })
      host.apply()
      const timer = setInterval(() => readEvents(level), level.pollMs)
      for (const kind of ['connect', 'request'] as const) {
        // As Auto does it: short connections are left alone, the others are accelerated.
        const acceleration = kind === 'connect' ? 'off' : 'on'
        host.datapath.setSettings({ acceleration, proxyPort: 0 })
        const sample = await measure(loads[kind].load, level)
        series[kind][id].push(sample)
        console.log(round + 1, id.padEnd(5), kind, JSON.stringify(sample))
      }
      clearInterval(timer)
    }
  }
  // Throughput is in the cases only: on a busy machine it says who else was there.
  const rows = (['connect', 'request'] as const).flatMap((id) =>
    compared.flatMap((level) => {
      const of = `${loads[id].what}, telemetry ${level} against off`
      const [name, by] = [`${id}-${level}`, pairs(series[id], level)]
      return [
        row(
          `${name}-cpu`,
          `${of}: CPU of both ends and the kernel`,
          ' ×',
          by('cpuUs', ratio),
        ),
        row(`${name}-bpf`, `${of}: run time of our programs`, ' ns', by('bpfNs', minus)),
      ]
    }),
  )
  const cases = Object.entries(series).flatMap(([id, each]) =>
    levelIds.map((level) => ({
      id: `${id}-${level}`,
      telemetry: levels[level].what,
      ...Object.fromEntries(
        (['perSecond', 'cpuUs', 'bpfNs', 'readerUs', 'told'] as const).map((field) => [
          field,
          spread(each[level].map((sample) => sample[field])),
        ]),
      ),
    })),
  )
  const [loadAverage] = loadavg()
  const machine = {
    ...{ cpu: cpus()[0]?.model, cpus: cpus().length, kernel: release(), loadAverage },
  }
  const report = { date: new Date().toISOString(), machine, rounds, seconds, rows, cases }
  writeFileSync(options.out, `${JSON.stringify(report, undefined, 2)}\n`)
  console.table(rows)
} finally {
  await host.close()
  rmSync(dir, { recursive: true })
}

function row(id: string, what: string, unit: string, values: readonly number[]) {
  const { median: result, min, max } = spread(values)
  return { id, what, unit: unit.trim(), result, min, max }
}
