// SPDX-License-Identifier: Apache-2.0
// A replica that just started: compiles, serves, and says at every line on stdin what it has cost since the last.
//
//   node replica.ts SERVICES ENDPOINTS NODES CHANGED LARGE_DELTAS PORT
//
// CHANGED services have another first endpoint than in a replica where it is 0.
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { compile, emptyPools } from '../src/compile/compile.ts'
import { ObjectIndex } from '../src/index/objects.ts'
import { Publisher } from '../src/publish/publisher.ts'
import { serve } from '../src/publish/server.ts'
import { cluster, slice, type Size } from './objects.ts'

const numbers = process.argv.slice(2).map(Number)
const [services = 1, endpoints = 1, nodes = 1, changed = 0, largeDeltas = 1, port = 0] =
  numbers
const size: Size = { services, endpoints, nodes }
const index = new ObjectIndex()
index.apply({ upserts: cluster(size), removals: [], errors: [] })
const marked = Array.from({ length: changed }, (_, n) => slice(size, n, n))
index.apply({ upserts: marked, removals: [], errors: [] })
const publisher = new Publisher({
  nackRetryMs: 5000,
  largeDeltas,
  onChange: () => undefined,
})
const names = new Set(Array.from({ length: nodes }, (_, n) => `node-${n}`))
publisher.publish(compile(index.snapshot(), emptyPools()), names)
await serve(`127.0.0.1:${port}`, publisher)
console.log('ready')

/** Megabytes of a line of /proc/self/status. */
const memory = (field: string): number =>
  Number(
    new RegExp(`${field}:\\s+(\\d+)`).exec(
      readFileSync('/proc/self/status', 'utf8'),
    )?.[1],
  ) / 1024
let cpu = process.cpuUsage()
let restMb = memory('VmRSS')
for await (const _ of createInterface(process.stdin)) {
  const { user, system } = process.cpuUsage(cpu)
  const cost = { cpuMs: (user + system) / 1000, restMb, peakMb: memory('VmHWM') }
  console.log(JSON.stringify(cost))
  // The peak is measured anew (proc(5), clear_refs).
  writeFileSync('/proc/self/clear_refs', '5')
  cpu = process.cpuUsage()
  restMb = memory('VmRSS')
}
