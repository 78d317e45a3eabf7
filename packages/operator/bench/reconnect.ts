// SPDX-License-Identifier: Apache-2.0
// `make bench-reconnect`: 200 nodes come to another replica at once, by simulation. What each is sent, how long it takes, and
// what it costs the replica.
//
//   node packages/operator/bench/reconnect.ts [--services N] [--nodes N] [--out FILE]
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { deltaLimits } from '../src/publish/turns.ts'
import { ask, line, start } from './child.ts'

const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '1000' },
    nodes: { type: 'string', default: '200' },
    out: {
      type: 'string',
      default: join(import.meta.dirname, '../../../bench/results/reconnect.json'),
    },
  },
})
const services = Number(values.services)
const nodes = Number(values.nodes)
const endpoints = 10
const ports = { first: 47_110, second: 47_111 }
const { largeDeltas } = deltaLimits
const cases = [
  { name: 'everything, to all at once', how: 'full', changed: 0, largeDeltas: nodes },
  {
    name: `everything, to ${largeDeltas} at a time`,
    how: 'full',
    changed: 0,
    largeDeltas,
  },
  { name: 'summary, nothing changed', how: 'summary', changed: 0, largeDeltas },
  {
    name: 'summary, 1 % of the endpoints changed',
    how: 'summary',
    changed: Math.round((services * endpoints) / 100),
    largeDeltas,
  },
]

const size = [services, endpoints, nodes]
const reports: object[] = []
const first = start('replica.ts', [...size, 0, largeDeltas, ports.first])
await line(first)
const clients = start('reconnecting.ts', [nodes, `127.0.0.1:${ports.first}`])
try {
  await line(clients)
  for (const { name, how, ...rest } of cases) {
    const args = [...size, rest.changed, rest.largeDeltas, ports.second]
    const second = start('replica.ts', args)
    try {
      await line(second)
      await ask(second, 'begin')
      const got = JSON.parse(
        await ask(clients, `${how} 127.0.0.1:${ports.second}`),
      ) as object
      const cost = JSON.parse(await ask(second, 'end')) as object
      const report = { case: name, ...got, ...cost }
      console.log(report)
      reports.push(report)
    } finally {
      second.process.kill()
    }
  }
} finally {
  clients.process.kill()
  first.process.kill()
}
const date = new Date().toISOString()
writeFileSync(
  values.out,
  `${JSON.stringify({ date, services, endpoints, nodes, reports }, undefined, 2)}\n`,
)
