// SPDX-License-Identifier: Apache-2.0
// Lines about ejections: who, why, how long, and when it is over; a bounded number of them.
import { Writable } from 'node:stream'
import pino from 'pino'
import t from 'tap'
import { Ejections, lineRate } from '../../src/cluster/ejections.ts'
import type { Ejection } from '../../src/cluster/outlier.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { makeEndpoint } from '../support/endpoint.ts'
import { until } from '../support/wait.ts'

const ejection: Ejection = {
  ...{ reason: 'failures in a row', forMs: 20, errors: 5, gatewayErrors: 2 },
  ...{ good: 10, total: 15, times: 1, ejected: 1, endpoints: 3 },
}

function setUp(level = 'info') {
  const lines: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>)
      done()
    },
  })
  const metrics = new Metrics()
  const ejections = new Ejections(metrics, pino({ level, base: null }, sink))
  return { lines, metrics, ejections, web: ejections.of('shop/web:80/TCP') }
}

/** Keeps the process while it waits for a timer that does not. */
async function back(lines: readonly unknown[], count: number): Promise<void> {
  await until(() => lines.length >= count, `${count} lines`)
}

t.test('a line when it goes, and one when it is back', async (t) => {
  const { lines, metrics, web } = setUp()
  const endpoint = makeEndpoint('10.0.0.1')
  web.ejected(endpoint, ejection)
  t.match(lines[0], {
    ...{ level: 40, msg: 'endpoint ejected', service: 'shop/web:80/TCP' },
    ...ejection,
    endpoint: endpoint.name,
  })
  const service = 'shop/web:80/TCP'
  t.strictSame(metrics.services.ejectedNow(), [{ labels: { service }, value: 1 }])
  await back(lines, 2)
  t.match(lines[1], {
    ...{ level: 30, msg: 'endpoint back', service, endpoint: endpoint.name },
    why: 'its time is over',
  })
  t.ok(Number(lines[1]?.['afterMs']) >= 19)
  t.strictSame(metrics.services.ejectedNow(), [{ labels: { service }, value: 0 }])
  t.match(metrics.services.samples('ejectionsConsecutive'), [{ value: 1 }])
})

t.test('each reason has its counter', async (t) => {
  const { metrics, web } = setUp('silent')
  web.ejected(makeEndpoint('10.0.0.1'), { ...ejection, reason: 'success rate' })
  web.ejected(makeEndpoint('10.0.0.2'), { ...ejection, reason: 'failures in a row' })
  const gateway = { ...ejection, reason: 'gateway failures in a row' } as const
  web.ejected(makeEndpoint('10.0.0.3'), gateway)
  web.panicked()
  const { services } = metrics
  t.match(services.samples('ejectionsSuccessRate'), [{ value: 1 }])
  t.match(services.samples('ejectionsConsecutive'), [{ value: 2 }])
  t.match(services.samples('ejectionPanics'), [{ value: 1 }])
})

t.test('ejected again before its timer, lifted, and gone', async (t) => {
  const { lines, metrics, ejections, web } = setUp()
  const [a, b] = [makeEndpoint('10.0.0.1'), makeEndpoint('10.0.0.2')]
  const long = { ...ejection, forMs: 60_000 }
  web.ejected(a, long)
  web.ejected(a, { ...long, times: 2 })
  web.ejected(b, long)
  t.match(metrics.services.ejectedNow(), [{ value: 2 }])
  web.lifted(a)
  web.lifted(a)
  ejections.forget(b)
  t.match(metrics.services.ejectedNow(), [{ value: 0 }])
  t.strictSame(
    lines.map(({ msg, why }) => why ?? msg),
    [
      ...['endpoint ejected', 'its time is over', 'endpoint ejected', 'endpoint ejected'],
      'outlierEjection is no longer declared',
    ],
  )
})

t.test('lines are bounded, and the next one says how many are missing', async (t) => {
  const { lines, metrics, web, ejections } = setUp('warn')
  const dropped = (): number => metrics.counters.ejectionLinesDropped
  let ejected = 0
  // A machine that stands still for a while in between lets a few more through.
  for (; dropped() < 7 && ejected < 10 * lineRate.burst; ejected++) {
    const endpoint = makeEndpoint('10.0.0.1')
    web.ejected(endpoint, { ...ejection, forMs: 60_000 })
    ejections.forget(endpoint)
  }
  const written = lines.length
  t.ok(written >= lineRate.burst)
  t.equal(dropped(), 7)
  t.equal(ejected, written + 7)
  const refillMs = lineRate.intervalMs / lineRate.requests
  await until(() => {
    web.ejected(makeEndpoint('10.0.1.1'), ejection)
    return lines.length > written
  }, `a line after ${refillMs} ms`)
  t.equal(lines.at(-1)?.['leftOut'], dropped())
  // At level warn returns are no lines, and cost none.
  t.notOk(lines.some(({ msg }) => msg === 'endpoint back'))
})
