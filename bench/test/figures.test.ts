// SPDX-License-Identifier: Apache-2.0
// Everything between a client's output and a row of the report.
import t from 'tap'
import { cgroupMount, cpuBetween, machineBusyUs, parseUsageUs } from '../cpu.ts'
import { command, parseReport, parseRequestLog } from '../load.ts'
import { barChart } from '../plot.ts'
import { markdown, summarize, type Results } from '../report.ts'
import { percentile, ratios, spread } from '../stats.ts'
import { bestPair, rows, type Sample } from '../targets.ts'
import { render } from '../topology.ts'

const sample = (over: Partial<Sample>): Sample => ({
  requests: 1000,
  requestsPerSecond: 1000,
  p50Us: 100,
  p99Us: 200,
  errors: 0,
  cpuUs: 30,
  groupsUs: { client: 10, web: 20 },
  ...over,
})

t.test('spread: odd, even, none', async (t) => {
  t.same(spread([3, 1, 2]), { median: 2, min: 1, max: 3 })
  t.same(spread([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 })
  t.equal(spread([]), undefined)
})

t.test('ratios pair rounds and leave gaps out', async (t) => {
  t.same(ratios([2, undefined, 9, 8], [1, 1, undefined, 4]), [2, 2])
  t.same(ratios([1], [0]), [])
  t.equal(percentile([5, 1, 3, 2, 4], 0.5), 3)
  t.equal(percentile([], 0.5), undefined)
})

t.test("clients' output", async (t) => {
  const wrk =
    'Running 1s test\n{"requests":500,"seconds":2,"p50Us":88,"p99Us":206,"errors":1}\n'
  t.same(parseReport(wrk), {
    requests: 500,
    requestsPerSecond: 250,
    p50Us: 88,
    p99Us: 206,
    errors: 1,
  })
  t.throws(() => parseReport('connection refused'), /no figures: connection refused/)
  const log = '1\t200\t10\n2\t200\t30\n3\t503\t5\n4\t-1\t5\n5\t200\t20\n'
  t.same(parseRequestLog(log, 1), {
    requests: 3,
    requestsPerSecond: 3,
    p50Us: 20,
    p99Us: 30,
    errors: 2,
  })
  t.ok(
    command({ kind: 'rate', url: 'http://x', requestsPerSecond: 1600 }, 1, {
      dir: '/d',
    }).includes('--rps=100'),
  )
})

t.test('CPU time', async (t) => {
  t.equal(parseUsageUs('usage_usec 123\nuser_usec 1\n'), 123)
  t.equal(machineBusyUs('cpu  1 2 3 1000 500 4 5 77 0 0\ncpu0 9 9 9 9\n'), 150_000)
  t.equal(
    cgroupMount('cgroup /a cgroup rw 0 0\ncgroup2 /b/unified cgroup2 rw 0 0\n'),
    '/b/unified',
  )
  t.same(
    [
      ...cpuBetween(
        new Map([['a', 5]]),
        new Map([
          ['a', 7],
          ['b', 3],
        ]),
      ),
    ],
    [
      ['a', 2],
      ['b', 3],
    ],
  )
})

t.test('rows compare what the target says, and a missing case is not met', async (t) => {
  const samples = new Map([
    [
      'l4-direct',
      [sample({ requestsPerSecond: 100 }), sample({ requestsPerSecond: 200 })],
    ],
    [
      'l4-gear0',
      [sample({ requestsPerSecond: 180 }), sample({ requestsPerSecond: 340 })],
    ],
    ['http-nginx2', [sample({ cpuUs: 40, requestsPerSecond: 10 })]],
    ['http-haproxy2', [sample({ cpuUs: 50, requestsPerSecond: 20 })]],
    ['http-gear3', [sample({ cpuUs: 50, requestsPerSecond: 10 })]],
  ])
  t.equal(bestPair(samples, 'http', 'cpuUs'), 'http-nginx2')
  t.equal(bestPair(samples, 'http', 'requestsPerSecond'), 'http-haproxy2')
  const byId = new Map(rows(samples, { connectHookNs: 400 }).map((row) => [row.id, row]))
  t.match(byId.get('P1'), {
    result: 1.75,
    min: 1.7,
    max: 1.8,
    met: true,
    target: '≥ 1.7 ×',
  })
  t.match(byId.get('P7'), { result: 1.25, met: true })
  t.match(byId.get('P8'), { result: 0.5, met: false })
  t.match(byId.get('P4'), { result: 400, met: true, target: '≤ 1000 ns' })
  t.match(byId.get('P9'), { result: null, met: false })
})

t.test('added latency subtracts no mesh', async (t) => {
  const samples = new Map([
    ['latency-direct', [sample({ p50Us: 100 })]],
    ['latency-nginx2', [sample({ p50Us: 300 })]],
    ['latency-gear3', [sample({ p50Us: 200 })]],
  ])
  t.equal(rows(samples, {}).find(({ id }) => id === 'P8-p50')?.result, 0.5)
  // Both p99 are equal: the pair adds nothing, and a ratio would be noise.
  t.equal(rows(samples, {}).find(({ id }) => id === 'P8-p99')?.result, null)
})

t.test('templates: a value for every name', async (t) => {
  t.equal(
    render(
      'a ${X} $host ${Y_2}',
      new Map([
        ['X', '1'],
        ['Y_2', '2'],
      ]),
    ),
    'a 1 $host 2',
  )
  t.throws(() => render('${NO}', new Map()), /no value for \$\{NO\}/)
})

t.test('report and plot', async (t) => {
  const samples = new Map([
    ['l4-direct', [sample({}), sample({ requestsPerSecond: 3000, errors: 2 })]],
  ])
  const cases = summarize(samples)
  t.match(cases, [
    {
      requestsPerSecond: { median: 2000, min: 1000, max: 3000 },
      errors: 2,
      groups: { web: 0.02 },
    },
  ])
  const results: Results = {
    machine: { cpu: 'a <cpu>', cores: 2, memoryBytes: 1, kernel: '6.18' },
    kernel: '6.18',
    versions: { nginx: '1' },
    date: '2026-01-01',
    rounds: 2,
    seconds: 1,
    rows: rows(samples, {}),
    cases,
    memory: { 'node-1/proxy': 5e7 },
    failures: { 'http-gear3': 'refused\nmore' },
  }
  const page = markdown(results)
  t.match(
    page,
    '| P1 | gear 0, one node, throughput against no mesh | ≥ 1.7 × | not measured |',
  )
  t.match(page, '| no mesh, one node | 2000 (1000–3000) |')
  t.match(page, '| node-1/proxy | 50.0 |')
  t.match(page, '* `http-gear3`: refused\n')
  const svg = barChart('a < b', 'requests/s', [
    { label: 'gear 0', value: { median: 5, min: 4, max: 10 } },
  ])
  t.match(svg, 'a &lt; b')
  t.match(svg, 'class="ours"')
  t.notMatch(svg, /NaN|undefined/)
})
