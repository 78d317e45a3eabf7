// SPDX-License-Identifier: Apache-2.0
// What was measured, as JSON, Markdown and SVG. Nobody edits the results by hand.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cases } from './cases.ts'
import type { Machine } from './machine.ts'
import { barChart } from './plot.ts'
import { spread, type Spread } from './stats.ts'
import type { Row, Sample, Samples } from './targets.ts'

/** Everything about one run. */
export interface Results {
  readonly machine: Machine
  readonly kernel: string
  readonly versions: Readonly<Record<string, string>>
  readonly date: string
  readonly rounds: number
  readonly seconds: number
  readonly rows: readonly Row[]
  readonly cases: readonly CaseResult[]
  /** Memory by process group, bytes, largest over the rounds. */
  readonly memory: Readonly<Record<string, number>>
  readonly failures: Readonly<Record<string, string>>
}

export interface CaseResult {
  readonly id: string
  readonly title: string
  readonly group: string
  readonly requestsPerSecond: Spread
  readonly p50Us: Spread
  readonly p99Us: Spread
  /** CPU seconds of all processes per 1000 requests. */
  readonly cpuSecondsPer1000: Spread
  /** Median CPU seconds per 1000 requests of each process group, and of the machine as a whole. */
  readonly groups: Readonly<Record<string, number>>
  readonly errors: number
}

const microsToSecondsPer1000 = 1e-3
/** Share of a case's CPU below which a group is in the JSON only. */
const worthTelling = 0.01

/** Summaries of all cases that were measured at least once. */
export function summarize(samples: Samples): CaseResult[] {
  return cases.flatMap(({ id, title, group }) => {
    const got = (samples.get(id) ?? []).filter((sample) => sample !== undefined)
    const of = (pick: (sample: Sample) => number): Spread | undefined =>
      spread(got.map(pick))
    const requestsPerSecond = of((sample) => sample.requestsPerSecond)
    const p50Us = of((sample) => sample.p50Us)
    const p99Us = of((sample) => sample.p99Us)
    const cpuSecondsPer1000 = of((sample) => sample.cpuUs * microsToSecondsPer1000)
    if (!requestsPerSecond || !p50Us || !p99Us || !cpuSecondsPer1000) return []
    const errors = got.reduce((sum, sample) => sum + sample.errors, 0)
    return [
      {
        id,
        title,
        group,
        requestsPerSecond,
        p50Us,
        p99Us,
        cpuSecondsPer1000,
        groups: groupMedians(got),
        errors,
      },
    ]
  })
}

function groupMedians(samples: readonly Sample[]): Record<string, number> {
  const names = new Set(samples.flatMap((sample) => Object.keys(sample.groupsUs)))
  const medians: Record<string, number> = {}
  for (const name of [...names].toSorted()) {
    const median =
      spread(samples.map((sample) => sample.groupsUs[name] ?? 0))?.median ?? 0
    // Below a nanosecond a request there is only the odd timer.
    if (median * microsToSecondsPer1000 >= 1e-6)
      medians[name] = median * microsToSecondsPer1000
  }
  return medians
}

function digits(value: number): string {
  if (value >= 100) return String(Math.round(value))
  return value >= 10 ? value.toFixed(1) : value.toPrecision(3)
}

const range = (value: Spread): string =>
  `${digits(value.median)} (${digits(value.min)}–${digits(value.max)})`

/** The page. */
export function markdown(results: Results): string {
  const { machine, versions, rows } = results
  const page = [
    '# Results',
    '',
    `Written by \`make bench\` on ${results.date}. ${machine.cpu}, ${machine.cores} cores, Linux ${results.kernel}; ` +
      `${results.rounds} rounds of ${results.seconds} s a case, medians (min–max). ` +
      'What the rows mean is in [../README.md](../README.md).',
    '',
    Object.entries(versions)
      .map(([name, version]) => `${name}: ${version}`)
      .join(' · '),
    '',
    '## Targets',
    '',
    '| | what | target | result | min | max | met |',
    '|---|---|---|---|---|---|---|',
    ...rows.map(targetLine),
    '',
  ]
  for (const [group, title] of Object.entries(groupTitles))
    page.push(...groupTable(results, group, title))
  page.push('## Memory', '', '| process | MB |', '|---|---|')
  for (const [name, bytes] of Object.entries(results.memory))
    page.push(`| ${name} | ${(bytes / 1e6).toFixed(1)} |`)
  page.push('')
  const failures = Object.entries(results.failures)
  if (failures.length > 0) {
    page.push(
      '## Not measured',
      '',
      ...failures.map(([id, why]) => `* \`${id}\`: ${why.split('\n')[0] ?? ''}`),
      '',
    )
  }
  return page.join('\n')
}

const groupTitles: Readonly<Record<string, string>> = {
  l4: 'HTTP in the kernel path: 120 bytes, wrk -t1 -c16',
  connect: 'Connection set-up: connect, one byte each way, close',
  http: 'HTTP/1.1: 1 KB, wrk -t1 -c16',
  latency: 'HTTP/1.1: 1 KB at a fixed rate, open loop',
  grpc: 'gRPC unary: h2load -c4 -m8',
}

const plots: Readonly<Record<string, string>> = {
  l4: 'l4.svg',
  connect: 'connect.svg',
  http: 'http.svg',
  grpc: 'grpc.svg',
}

function targetLine(row: Row): string {
  const value = (number: number | null): string => (number === null ? '' : digits(number))
  const result = row.result === null ? 'not measured' : value(row.result)
  const met = row.result === null ? '' : row.met ? 'yes' : '**no**'
  return `| ${row.id} | ${row.what} | ${row.target} | ${result} | ${value(row.min)} | ${value(row.max)} | ${met} |`
}

function groupTable(results: Results, group: string, title: string): string[] {
  const members = results.cases.filter((one) => one.group === group)
  if (members.length === 0) return []
  const lines = members.map((one) => {
    const proxies = Object.entries(one.groups)
      .filter(
        ([name, seconds]) =>
          name !== 'machine' && seconds >= worthTelling * one.cpuSecondsPer1000.median,
      )
      .map(([name, seconds]) => `${name} ${digits(seconds)}`)
    return `| ${one.title} | ${range(one.requestsPerSecond)} | ${range(one.p50Us)} | ${range(one.p99Us)} | ${range(one.cpuSecondsPer1000)} | ${proxies.join(', ')} | ${one.errors} |`
  })
  const plot = plots[group]
  return [
    `## ${title}`,
    '',
    '| | requests/s | p50 µs | p99 µs | CPU s / 1000 requests | of which | errors |',
    '|---|---|---|---|---|---|---|',
    ...lines,
    '',
    ...(plot === undefined ? [] : [`![${title}](${plot})`, '']),
  ]
}

/** Writes latest.json, report.md and the plots into `dir`. */
export function writeResults(dir: string, results: Results): void {
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'latest.json'), JSON.stringify(results, null, 2) + '\n')
  writeFileSync(join(dir, 'report.md'), markdown(results))
  for (const [group, file] of Object.entries(plots)) {
    const bars = results.cases
      .filter((one) => one.group === group)
      .map(({ title, requestsPerSecond }) => ({ label: title, value: requestsPerSecond }))
    if (bars.length > 0)
      writeFileSync(
        join(dir, file),
        barChart(groupTitles[group] ?? group, 'requests/s', bars),
      )
  }
}
