// SPDX-License-Identifier: Apache-2.0
// `make bench-scale`: one node with 10 000 services, 100 000 endpoints and 10 000 policies, beside the same node with one
// service. Needs root, and a machine that does nothing else.
//
//   node packages/ebpf-l4/bench/scale.ts [--services N] [--rounds N] [--seconds N] [--out FILE]
import { writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Resource, Resources } from '@pillion/contract'
import { initialState, plan, type PlanContext, type Tables } from '../src/index.ts'
import { native } from '../src/native.ts'
import { Host } from '../test/support/host.ts'
import { endpoint, servicePort } from '../test/support/resources.ts'
import { after, cluster, identityOf, somePolicy } from './objects.ts'

const root = join(import.meta.dirname, '../../..')
const client = join(root, 'bench/load/.output/connect')
const { values: options } = parseArgs({
  options: {
    services: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '10' },
    out: { type: 'string', default: join(root, 'bench/results/scale.json') },
  },
})
const services = Number(options.services)
const seconds = Number(options.seconds)

/** The service that is really used: two endpoints that answer on this node. */
const used = 900_000
const usedAddress = '172.31.0.1'

const host = await Host.create(['client', 'a', 'b'])
const [driver, a, b] = [host.pod('client'), host.pod('a'), host.pod('b')]
const small = [
  servicePort(used, [usedAddress]),
  endpoint(used, a.ip4, { identity: a.identity }),
  endpoint(used, b.ip4, { identity: b.identity }),
  // Of somebody else: with any policy at all connects are judged, with one as with thousands.
  somePolicy(identityOf(services + 1), identityOf(1)),
]
const context: PlanContext = {
  ...{ node: 'node-1', cgroups: new Map(), nodeCgroupId: 1n },
  ...{ kubepodsCgroupIds: [], proxyCgroupId: undefined },
}
/** What the harness says of its own pods stays. */
const own = {
  cgroups: new Map(host.tables.pl_cgroups),
  addresses: new Map(host.tables.pl_addresses),
}

/** A node's state that follows deltas: resources, plan, kernel. */
class Node {
  resources: Resources
  #state = initialState()

  constructor(upserts: Resource[]) {
    this.resources = after(undefined, upserts).resources
    this.#state = plan(this.resources, context, this.#state).state
  }

  /** Milliseconds from the delta to the last map. */
  change(upserts: Resource[], removals: { kind: string; name: string }[] = []): number {
    const started = performance.now()
    const next = after(this.resources, upserts, removals)
    this.resources = next.resources
    this.#state = plan(this.resources, context, this.#state, next.changes).state
    this.apply()
    return performance.now() - started
  }

  apply(): void {
    host.datapath.apply(this.tables)
  }

  get tables(): Tables {
    const { tables } = this.#state
    return {
      ...tables,
      pl_cgroups: own.cgroups,
      pl_addresses: withOwn(tables.pl_addresses),
    }
  }
}

/** Planned once with the pods of this host in it: addresses do not change here. */
const merged = new WeakMap<object, Tables['pl_addresses']>()
function withOwn(planned: Tables['pl_addresses']): Tables['pl_addresses'] {
  const known = merged.get(planned) ?? new Map([...planned, ...own.addresses])
  merged.set(planned, known)
  return known
}

const median = (all: number[]): number => percentile(all, 0.5)
function percentile(all: number[], share: number): number {
  const sorted = all.toSorted((x, y) => x - y)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
}
const spread = (all: number[]) => ({
  median: median(all),
  min: Math.min(...all),
  max: Math.max(...all),
})

interface Driven {
  readonly requests: number
  readonly seconds: number
  readonly errors: number
  readonly p99Us: number
}

async function drive(forSeconds: number): Promise<Driven> {
  const { out, err } = await host.run(
    driver,
    [client, 'drive', usedAddress, '80', String(forSeconds), '8'],
    (forSeconds + 20) * 1000,
  )
  if (out === '') throw new Error(err)
  return JSON.parse(out) as Driven
}

/** Nanoseconds of the connect program a run, and connections a second. */
async function connectCost(): Promise<{ ns: number; perSecond: number }> {
  const stats = () =>
    host.datapath.programs().find(({ name }) => name === 'pl_connect4') ?? {
      runTimeNs: 0,
      runCount: 0,
    }
  await drive(0.5) // habits, caches
  const before = stats()
  const { requests, seconds: took } = await drive(2)
  const now = stats()
  const runs = now.runCount - before.runCount
  return {
    ns: (now.runTimeNs - before.runTimeNs) / runs,
    perSecond: requests / took,
  }
}

try {
  for (const pod of [a, b]) host.start(pod, [client, 'serve', '8080'])
  await new Promise((resolve) => setTimeout(resolve, 500))

  const one = new Node(small)
  one.apply()
  const empty = process.memoryUsage().rss
  const planned = performance.now()
  const full = new Node([...cluster(services), ...small])
  const applied = performance.now()
  full.apply()
  const load = { planMs: applied - planned, writeMs: performance.now() - applied }
  const maps = host.datapath.mapInfo()
  const memory = {
    processMb: (process.memoryUsage().rss - empty) / 2 ** 20,
    mapsMb: maps.reduce((sum, map) => sum + map.memoryBytes, 0) / 2 ** 20,
    entries: Object.fromEntries(maps.map(({ name, entries }) => [name, entries ?? 0])),
  }
  console.log(load, memory.processMb, memory.mapsMb)

  const stats = native.enableStats()
  const rounds: { one: number[]; full: number[]; ratio: number[]; rate: number[] } = {
    ...{ one: [], full: [], ratio: [], rate: [] },
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    one.apply()
    const little = await connectCost()
    full.apply()
    const much = await connectCost()
    rounds.one.push(little.ns)
    rounds.full.push(much.ns)
    rounds.ratio.push(much.ns / little.ns)
    rounds.rate.push(much.perSecond / little.perSecond)
  }
  native.closeFd(stats)
  const connect = {
    oneNs: spread(rounds.one),
    fullNs: spread(rounds.full),
    ratio: spread(rounds.ratio),
    connectionsRatio: spread(rounds.rate),
  }
  console.log(connect)

  /** One more endpoint of some service, and another policy now and then. */
  const step = (i: number): number => {
    const service = 1 + (i % services)
    if (i % 10 === 9)
      return full.change([
        somePolicy(identityOf(service), identityOf((service + i) % services)),
      ])
    const text = `10.200.${(i >> 8) & 255}.${i & 255}`
    return full.change([endpoint(service, text, { identity: identityOf(service) })])
  }
  const single = Array.from({ length: 400 }, (_, i) => step(i))

  /** 500 changes a second, every other one to the service that is connected to. */
  const churning: number[] = []
  let changes = 0
  const churnStarted = performance.now()
  const timer = setInterval(() => {
    const due = ((performance.now() - churnStarted) / 1000) * 500
    while (changes < due) {
      const i = changes++
      const [gone, back] = i % 4 === 0 ? [b, a] : [a, b]
      if (i % 2 === 1) churning.push(step(i))
      else
        churning.push(
          full.change(
            [endpoint(used, back.ip4, { identity: back.identity })],
            [{ kind: 'endpoint', name: `shop/s${used}:80/TCP|${gone.ip4}:8080` }],
          ),
        )
    }
  }, 5)
  const churned = await drive(seconds)
  clearInterval(timer)
  const enforce = (all: number[]) => ({
    p50Ms: median(all),
    p99Ms: percentile(all, 0.99),
    maxMs: Math.max(...all),
  })
  const report = {
    date: new Date().toISOString(),
    machine: { cpu: cpus()[0]?.model, cpus: cpus().length, kernel: release() },
    ...{ services, endpoints: services * 10, policies: services },
    ...{ load, memory, connect },
    change: enforce(single),
    churn: {
      changesPerSecond: changes / ((performance.now() - churnStarted) / 1000),
      ...enforce(churning),
      connections: churned.requests,
      failed: churned.errors,
    },
  }
  console.log(report.change, report.churn)
  writeFileSync(options.out, `${JSON.stringify(report, undefined, 2)}\n`)
} finally {
  await host.close()
}
