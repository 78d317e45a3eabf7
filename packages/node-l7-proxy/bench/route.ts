// SPDX-License-Identifier: Apache-2.0
// `make bench-routes`: what it costs a request to find its rule, by the length of the table: gone through as a list, and by the
// index that longer tables have (src/route/route-index.ts). Lists and indexes alternate; the median of the rounds counts.
//
//   node packages/node-l7-proxy/bench/route.ts [--rounds N] [--quick] [--out FILE]
import { writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { MatchKind, RouteMatch, type RouteRule, RouteTable } from '@pillion/contract'
import { compileTable } from '../src/route/compile.ts'
import { firstMatch } from '../src/route/match.ts'
import { RouteIndex } from '../src/route/route-index.ts'
import type { RouteRequest, Rule } from '../src/route/table.ts'
import { rule } from '../test/support/resources.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    quick: { type: 'boolean', default: false },
    out: {
      type: 'string',
      default: join(import.meta.dirname, '../../../bench/results/routes.json'),
    },
  },
})
const rounds = values.quick ? 3 : Number(values.rounds)
/** Long enough for the clock, short enough for a list of 10 000. */
const roundMs = values.quick ? 20 : 100

/** A third is exact, a third is a prefix, a third has a method as well; sorted as the operator sorts. */
function tableOf(length: number): readonly Rule[] {
  const { EXACT, PATH_PREFIX } = MatchKind
  const kinds = [EXACT, PATH_PREFIX, PATH_PREFIX]
  const rules = Array.from({ length }, (_, i): RouteRule => {
    const kind = kinds[i % 3] ?? EXACT
    const path = { kind, value: `/api/v1/resource-${i}/items` }
    const match = RouteMatch.fromPartial({ path, method: i % 3 === 2 ? 'GET' : '' })
    return rule('', { web: 1 }, { text: `${i}`, match })
  })
  const exact = ({ match }: RouteRule): number => Number(match?.path?.kind === EXACT)
  const sorted = rules.sort((a, b) => exact(b) - exact(a))
  const table = { ...RouteTable.fromPartial({ serviceId: 1 }), hasRoutes: true }
  return compileTable('shop/web:80/TCP', { ...table, rules: sorted }).producer
}

/** Rules at the beginning, in the middle and at the end, and a path that none is about. */
function requestsFor(length: number): RouteRequest[] {
  const headers = ['user-agent', 'bench', 'accept', '*/*']
  const paths = [0.1, 0.5, 0.9].map((part) => {
    const i = Math.floor(length * part)
    return `/api/v1/resource-${i}/items${i % 3 === 0 ? '' : '/17'}?page=2`
  })
  return [...paths, '/api/v1/nothing'].map((path) => ({
    ...{ method: 'GET', path, authority: 'web.shop', headers },
  }))
}

let sink = 0
/** Nanoseconds a request. */
function measure(find: (request: RouteRequest) => Rule | undefined, length: number) {
  const requests = requestsFor(length)
  const until = performance.now() + roundMs
  let count = 0
  let elapsedMs = 0
  const started = performance.now()
  do {
    for (let i = 0; i < 64; i++)
      for (const request of requests) if (find(request) !== undefined) sink++
    count += 64 * requests.length
    elapsedMs = performance.now() - started
  } while (performance.now() < until)
  return (elapsedMs * 1e6) / count
}

function median(list: readonly number[]): number {
  return Math.round(list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0)
}

const report = [4, 8, 16, 32, 100, 1000, 10_000].map((length) => {
  const rules = tableOf(length)
  const builds: number[] = []
  const list: number[] = []
  const index: number[] = []
  for (let i = 0; i < rounds; i++) {
    const started = performance.now()
    const built = new RouteIndex(rules)
    builds.push((performance.now() - started) * 1e6)
    list.push(measure((request) => firstMatch(rules, request), length))
    index.push(measure((request) => built.find(request), length))
  }
  const line = {
    ...{ rules: length, listNs: median(list), indexNs: median(index) },
    buildNsPerRule: Math.round(median(builds) / length),
  }
  console.log(JSON.stringify(line))
  return line
})
if (sink === 0) throw new Error('no request found a rule')

const machine = { cpu: cpus()[0]?.model, cpus: cpus().length, kernel: release() }
const out = { date: new Date().toISOString(), machine, rounds, report }
if (!values.quick) writeFileSync(values.out, `${JSON.stringify(out, undefined, 2)}\n`)
