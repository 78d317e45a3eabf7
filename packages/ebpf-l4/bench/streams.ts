// SPDX-License-Identifier: Apache-2.0
// `make bench-streams`: one-way streams of 64 bytes to 1 MB a message between two pods of a node, with acceleration and
// without, alternating. `--soak SECONDS` instead: checksummed streams, both ways, for as long.
//
//   node packages/ebpf-l4/bench/streams.ts [--rounds N] [--seconds N] [--out FILE] [--soak SECONDS]
import { writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Host } from '../test/support/host.ts'

const root = join(import.meta.dirname, '../../..')
const program = join(root, 'bench/load/.output/stream')
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    soak: { type: 'string', default: '0' },
    out: { type: 'string', default: join(root, 'bench/results/streams.json') },
  },
})
const sizes = [64, 1024, 16_384, 65_536, 1_048_576]

const host = await Host.create(['client', 'server'])
const [client, server] = [host.pod('client'), host.pod('server')]

const accelerate = (acceleration: 'on' | 'off') =>
  host.datapath.setSettings({ acceleration, proxyPort: 0 })

/** Bytes a second, and CPU seconds of the sender a gigabyte. */
async function stream(bytes: number): Promise<{ rate: number; cpu: number }> {
  const { out, err } = await host.run(
    client,
    [program, 'send', server.ip4, '9300', String(bytes), options.seconds],
    (Number(options.seconds) + 20) * 1000,
  )
  if (out === '') throw new Error(err)
  const [rate = NaN, cpu = NaN] = out.split(' ').map(Number)
  return { rate, cpu }
}

const spread = (all: number[]) => {
  const sorted = all.toSorted((a, b) => a - b)
  const at = (i: number): number => sorted[i] ?? NaN
  return { median: at(sorted.length >> 1), min: at(0), max: at(sorted.length - 1) }
}

async function compare(): Promise<void> {
  const rows = []
  for (const bytes of sizes) {
    const on: number[] = []
    const off: number[] = []
    const ratio: number[] = []
    const cpuRatio: number[] = []
    for (let round = 0; round < Number(options.rounds); round++) {
      accelerate('off')
      const plain = await stream(bytes)
      accelerate('on')
      const accelerated = await stream(bytes)
      off.push(plain.rate)
      on.push(accelerated.rate)
      ratio.push(accelerated.rate / plain.rate)
      cpuRatio.push(accelerated.cpu / plain.cpu)
    }
    const row = {
      bytes,
      ratio: spread(ratio),
      senderCpuRatio: spread(cpuRatio),
      on: spread(on),
      off: spread(off),
    }
    console.log(bytes, row.ratio, row.senderCpuRatio)
    rows.push(row)
  }
  const machine = { cpu: cpus()[0]?.model, cpus: cpus().length, kernel: release() }
  const report = { date: new Date().toISOString(), machine, rows }
  writeFileSync(options.out, `${JSON.stringify(report, undefined, 2)}\n`)
}

/** Checked byte by byte by both ends; ends at the first byte that is wrong. */
async function soak(seconds: number): Promise<void> {
  accelerate('on')
  const ended = await Promise.all(
    Array.from({ length: 4 }, () =>
      host.run(
        client,
        [program, 'check', server.ip4, '9301', String(seconds)],
        (seconds + 60) * 1000,
      ),
    ),
  )
  const counters = host.datapath.counters()
  const paths = ['COUNTER_ACCEL_REDIRECTED', 'COUNTER_ACCEL_TCP', 'COUNTER_ACCEL_BULK']
  for (const path of paths) console.log(path, counters[path])
  for (const { code, out, err } of ended) {
    console.log(out, err)
    if (code !== 0) process.exitCode = 1
  }
}

try {
  host.start(server, [program, 'sink', '9300'])
  host.start(server, [program, 'echo', '9301'])
  await new Promise((resolve) => setTimeout(resolve, 300))
  await (options.soak === '0' ? compare() : soak(Number(options.soak)))
} finally {
  await host.close()
}
