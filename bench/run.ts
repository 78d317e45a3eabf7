// SPDX-License-Identifier: Apache-2.0
// `make bench`: no mesh, peers and Pillion in turn, on this machine.
//
//   node bench/run.ts [--quick] [--rounds N] [--seconds N] [--only ID,ID] [--out DIR]
//
// Exit code: 0 measured, whatever came out; 1 a case could not be measured; 2 wrong arguments.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { cases } from './cases.ts'
import { labDown } from './lab.ts'
import { machine, versions } from './machine.ts'
import { summarize, writeResults, type Results } from './report.ts'
import { runTopology } from './round.ts'
import { rows, type Extras, type Sample } from './targets.ts'

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly only: readonly string[]
  readonly out: string
}

/** A command line that cannot be used. */
class UsageError extends Error {}

function parseOptions(argv: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string', default: '' },
      out: { type: 'string', default: join(import.meta.dirname, 'results') },
    },
  })
  const count = (text: string | undefined, fallback: number, name: string): number => {
    const value = text === undefined ? fallback : Number(text)
    if (!Number.isInteger(value) || value < 1)
      throw new UsageError(`--${name}: a whole number from 1`)
    return value
  }
  const only = values.only.split(',').filter((id) => id !== '')
  const unknown = only.find((id) => !cases.some((one) => one.id === id))
  if (unknown !== undefined) {
    throw new UsageError(
      `--only: no case "${unknown}"; there are ${cases.map(({ id }) => id).join(', ')}`,
    )
  }
  return {
    rounds: count(values.rounds, values.quick ? 1 : 5, 'rounds'),
    seconds: count(values.seconds, values.quick ? 1 : 2, 'seconds'),
    only,
    out: values.out,
  }
}

async function main(options: Options): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-bench-'))
  const samples = new Map<string, (Sample | undefined)[]>(cases.map(({ id }) => [id, []]))
  const memory = new Map<string, number>()
  const failures: Record<string, string> = {}
  let extras: Extras = {}
  const failed = (id: string, reason: string): void => {
    failures[id] = reason
    console.log(`  ${id}: ${reason}`)
  }
  for (let round = 0; round < options.rounds; round++) {
    // The order changes from round to round: a machine that gets slower favours nobody.
    for (const mesh of round % 2 === 0 ? [false, true] : [true, false]) {
      console.log(
        `round ${round + 1} of ${options.rounds}, ${mesh ? 'mesh' : 'no mesh and peers'}`,
      )
      const name = mesh ? 'mesh' : 'no mesh and peers'
      try {
        const settings = {
          ...options,
          dir,
          mesh,
          say: (line: string) => console.log(line),
          failed,
        }
        const result = await runTopology(settings, round === options.rounds - 1)
        for (const [id, sample] of result.samples) (samples.get(id) ?? [])[round] = sample
        for (const [group, bytes] of result.memory)
          memory.set(group, Math.max(bytes, memory.get(group) ?? 0))
        extras = { ...extras, ...result.extras }
      } catch (error) {
        failed(name, error instanceof Error ? error.message : String(error))
      }
    }
  }
  const host = machine()
  const results: Results = {
    machine: host,
    kernel: host.kernel,
    versions: versions(),
    date: new Date().toISOString(),
    rounds: options.rounds,
    seconds: options.seconds,
    rows: rows(samples, extras),
    cases: summarize(samples),
    memory: Object.fromEntries([...memory].filter(([, bytes]) => bytes > 0).toSorted()),
    failures,
  }
  writeResults(options.out, results)
  for (const { id, what, target, result, met } of results.rows) {
    const verdict = result === null ? '' : met ? 'met' : 'not met'
    const text = result === null ? 'not measured' : result.toPrecision(3)
    console.log(
      `${verdict.padEnd(8)}${id.padEnd(11)}${target.padStart(9)} ${text.padStart(13)}  ${what}`,
    )
  }
  console.log(`written: ${join(options.out, 'report.md')}`)
  if (Object.keys(failures).length === 0) rmSync(dir, { recursive: true })
  else console.log(`logs of what failed: ${dir}`)
  return Object.keys(failures).length === 0 ? 0 : 1
}

// Whatever ends the run, no lab stays behind.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void labDown().finally(() => process.exit(1))
  })
}

try {
  process.exitCode = await main(parseOptions(process.argv.slice(2)))
} catch (error) {
  if (!(
    error instanceof UsageError ||
    (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  ))
    throw error
  console.error((error as Error).message)
  process.exitCode = 2
}
