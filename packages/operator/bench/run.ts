// SPDX-License-Identifier: Apache-2.0
// `make bench-propagation`: from a changed EndpointSlice in the operator to the delta in every node, by simulation.
//
//   node packages/operator/bench/run.ts [--nodes N] [--rate N] [--seconds N] [--out FILE]
//
// Sizes of 1, 2 and 4 × 1000 services with 10 endpoints each. The nodes are streams of one process, so that the CPU of the
// operator is told apart from theirs.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ask, line, start } from './child.ts'

const port = 47_100
const here = import.meta.dirname

interface Report {
  readonly services: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly changes: number
  /** Of one CPU. */
  readonly operatorCpu: number
  readonly operatorMb: number
  readonly firstCompileMs: number
  /** Payload for one node, a change. */
  readonly bytesPerChange: number
  readonly deltasPerNode: number
  readonly missing: number
}

async function measure(
  services: number,
  nodes: number,
  rate: number,
  seconds: number,
): Promise<Report> {
  const operator = start('operator.ts', [services, 10, nodes, rate, seconds, port])
  try {
    await line(operator)
    const clients = start('nodes.ts', [nodes, `127.0.0.1:${port}`])
    try {
      await line(clients)
      const { made, ...own } = JSON.parse(await ask(operator, 'go')) as {
        made: string[]
        firstCompileMs: number
        cpuShare: number
        memoryMb: number
      }
      const got = JSON.parse(await ask(clients, 'stop')) as {
        seen: [number, string][]
        bytes: number
        deltas: number
      }
      const latencies = got.seen
        .map(([change, at]) => Number(BigInt(at) - BigInt(made[change] ?? at)) / 1e6)
        .sort((a, b) => a - b)
      const at = (share: number): number =>
        latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))] ??
        NaN
      return {
        services,
        p50Ms: at(0.5),
        p99Ms: at(0.99),
        maxMs: at(1),
        changes: made.length,
        operatorCpu: own.cpuShare,
        operatorMb: own.memoryMb,
        firstCompileMs: own.firstCompileMs,
        bytesPerChange: got.bytes / nodes / made.length,
        deltasPerNode: got.deltas / nodes,
        missing: made.length * nodes - got.seen.length,
      }
    } finally {
      clients.process.kill()
    }
  } finally {
    operator.process.kill()
  }
}

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '200' },
    rate: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '10' },
    sizes: { type: 'string', default: '1000,2000,4000' },
    out: {
      type: 'string',
      default: join(here, '../../../bench/results/propagation.json'),
    },
  },
})
const reports: Report[] = []
for (const services of values.sizes.split(',').map(Number)) {
  const report = await measure(
    services,
    Number(values.nodes),
    Number(values.rate),
    Number(values.seconds),
  )
  console.log(report)
  reports.push(report)
}
const { nodes, rate, seconds } = values
writeFileSync(
  values.out,
  `${JSON.stringify({ date: new Date().toISOString(), nodes, rate, seconds, reports }, undefined, 2)}\n`,
)
