// SPDX-License-Identifier: Apache-2.0
// The operator's side: index → compile → publish over real gRPC, with changes at a fixed rate.
//
//   node operator.ts SERVICES ENDPOINTS NODES CHANGES_PER_SECOND SECONDS PORT
//
// Prints "ready" when it serves, waits for a line on stdin, makes its changes, prints one line of JSON and ends.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { compile, emptyPools, type Compiled } from '../src/compile/compile.ts'
import { ObjectIndex } from '../src/index/objects.ts'
import { Publisher } from '../src/publish/publisher.ts'
import { serve } from '../src/publish/server.ts'
import { cluster, slice, type Size } from './objects.ts'

/** As the sources of the operator collect changes. */
const debounceMs = 5

const numbers = process.argv.slice(2).map(Number)
const [services = 1, endpoints = 1, nodes = 1, rate = 1, seconds = 1, port = 0] = numbers
const size: Size = { services, endpoints, nodes }
const names = new Set(Array.from({ length: nodes }, (_, n) => `node-${n}`))

const index = new ObjectIndex()
const publisher = new Publisher({ nackRetryMs: 5000, onChange: () => undefined })
let compiled: Compiled | undefined
function publish(upserts: Parameters<ObjectIndex['apply']>[0]['upserts']): void {
  const dirty = index.apply({ upserts, removals: [], errors: [] })
  compiled = compile(index.snapshot(), compiled?.pools ?? emptyPools(), compiled, dirty)
  publisher.publish(compiled, names)
}

const started = performance.now()
publish(cluster(size))
const firstCompileMs = performance.now() - started
const server = await serve(`127.0.0.1:${port}`, publisher)
console.log('ready')
await once(createInterface(process.stdin), 'line')

/** CLOCK_MONOTONIC of each change, nanoseconds; the clients use the same clock. */
const made: string[] = []
const before = process.cpuUsage()
const end = performance.now() + seconds * 1000
let pending: ReturnType<typeof slice>[] = []
let timer: NodeJS.Timeout | undefined
let next = performance.now()
for (let i = 0; performance.now() < end; i++) {
  made.push(String(process.hrtime.bigint()))
  pending.push(slice(size, (i * 7919) % services, i))
  timer ??= setTimeout(() => {
    timer = undefined
    publish(pending)
    pending = []
  }, debounceMs)
  next += (1000 / rate) * (0.5 + Math.random())
  await sleep(Math.max(0, next - performance.now()))
}
await sleep(1000)
const cpu = process.cpuUsage(before)
console.log(
  JSON.stringify({
    made,
    firstCompileMs,
    cpuShare: (cpu.user + cpu.system) / 1e6 / (seconds + 1),
    memoryMb: process.memoryUsage.rss() / 2 ** 20,
  }),
)
await once(createInterface(process.stdin), 'line')
server.close()
process.exit(0)
