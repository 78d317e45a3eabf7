// SPDX-License-Identifier: Apache-2.0
// The targets of the design as rows: which cases are compared, and what is required. Pure.
import type { Figures } from './load.ts'
import { ratios, spread } from './stats.ts'

/** One case in one round. */
export interface Sample extends Figures {
  /** CPU time of all processes of the lab, client and server included, microseconds a request. */
  readonly cpuUs: number
  /** The same by process group: a pod's name, "node-1/proxy", "node-1/agent", "lab/operator". */
  readonly groupsUs: Readonly<Record<string, number>>
}

/** Samples by case id, by round; undefined where the case could not be measured. */
export type Samples = ReadonlyMap<string, readonly (Sample | undefined)[]>

/** Figures that are no case: measured once. */
export interface Extras {
  /** Mean run time of the connect program, nanoseconds. */
  readonly connectHookNs?: number
  /** Agent, proxy and maps of the busiest node with 30 pods, bytes. */
  readonly nodeMemoryBytes?: number
}

/** A target beside what was measured; `result` is null when it could not be. */
export interface Row {
  readonly id: string
  readonly what: string
  readonly target: string
  readonly result: number | null
  readonly min: number | null
  readonly max: number | null
  readonly met: boolean
}

type Metric = 'requestsPerSecond' | 'p50Us' | 'p99Us' | 'cpuUs'
type Limit = { readonly atLeast: number } | { readonly atMost: number }

const limitText = (limit: Limit, unit: string): string =>
  ('atLeast' in limit ? `≥ ${limit.atLeast}` : `≤ ${limit.atMost}`) + unit

const meets = (value: number, limit: Limit): boolean =>
  'atLeast' in limit ? value >= limit.atLeast : value <= limit.atMost

function row(
  id: string,
  what: string,
  limit: Limit,
  values: readonly number[],
  unit = ' ×',
): Row {
  const measured = spread(values)
  return {
    id,
    what,
    target: limitText(limit, unit),
    result: measured?.median ?? null,
    min: measured?.min ?? null,
    max: measured?.max ?? null,
    met: measured !== undefined && meets(measured.median, limit),
  }
}

const series = (samples: Samples, id: string, metric: Metric): (number | undefined)[] =>
  (samples.get(id) ?? []).map((sample) => sample?.[metric])

const quotient = (
  samples: Samples,
  metric: Metric,
  above: string,
  below: string,
): number[] => ratios(series(samples, above, metric), series(samples, below, metric))

const defined = (values: readonly (number | undefined)[]): number[] =>
  values.filter((value) => value !== undefined)

/** The better of the two sidecar pairs: "the best of nginx and HAProxy" is decided per metric, by median. */
export function bestPair(
  samples: Samples,
  group: 'http' | 'latency',
  metric: Metric,
): string {
  const nginx = spread(defined(series(samples, `${group}-nginx2`, metric)))
  const haproxy = spread(defined(series(samples, `${group}-haproxy2`, metric)))
  if (nginx === undefined) return `${group}-haproxy2`
  if (haproxy === undefined) return `${group}-nginx2`
  const nginxWins =
    metric === 'requestsPerSecond'
      ? nginx.median >= haproxy.median
      : nginx.median <= haproxy.median
  return nginxWins ? `${group}-nginx2` : `${group}-haproxy2`
}

/**
 * Latency that gear 3 adds to no mesh, against what the pair adds. Differences of two noisy figures: what is subtracted
 * and divided by are medians over all rounds. None when the pair adds nothing that can be told from noise.
 */
function addedLatency(samples: Samples, metric: 'p50Us' | 'p99Us'): number[] {
  const of = (id: string): number[] => defined(series(samples, id, metric))
  const direct = spread(of('latency-direct'))?.median
  const pair = spread(of(bestPair(samples, 'latency', metric)))?.median
  if (direct === undefined || pair === undefined || pair <= direct) return []
  return of('latency-gear3').map((value) => Math.max(0, value - direct) / (pair - direct))
}

/** Every target that this version measures, in the order of the design. */
export function rows(samples: Samples, extras: Extras): Row[] {
  const memory = extras.nodeMemoryBytes
  return [
    ...kernelRows(samples, extras.connectHookNs),
    ...proxyRows(samples),
    row(
      'P12',
      'memory of a node with 30 pods: agent, proxy, maps',
      { atMost: 150 },
      memory === undefined ? [] : [memory / 1e6],
      ' MB',
    ),
  ]
}

function kernelRows(samples: Samples, hookNs: number | undefined): Row[] {
  const rate = (above: string, below: string): number[] =>
    quotient(samples, 'requestsPerSecond', above, below)
  const p50 = quotient(samples, 'p50Us', 'l4-gear0', 'l4-direct')
  const p99 = quotient(samples, 'p99Us', 'l4-gear0-nodes', 'l4-direct-nodes')
  return [
    row(
      'P1',
      'gear 0, one node, throughput against no mesh',
      { atLeast: 1.7 },
      rate('l4-gear0', 'l4-direct'),
    ),
    row(
      'P1-p50',
      'gear 0, one node, median latency against no mesh',
      { atMost: 0.5 },
      p50,
    ),
    row(
      'P2',
      'gear 0, two nodes, throughput against no mesh',
      { atLeast: 0.99 },
      rate('l4-gear0-nodes', 'l4-direct-nodes'),
    ),
    row('P2-p99', 'gear 0, two nodes, p99 against no mesh', { atMost: 1.02 }, p99),
    row(
      'P3',
      'gear 0, connections a second against no mesh',
      { atLeast: 0.95 },
      rate('connect-gear0', 'connect-direct'),
    ),
    row(
      'P3-haproxy',
      'gear 0, connections a second against two HAProxy TCP hops',
      { atLeast: 5 },
      rate('connect-gear0', 'connect-haproxy2'),
    ),
    row(
      'P4',
      'connect program, mean run time',
      { atMost: 1000 },
      hookNs === undefined ? [] : [hookNs],
      ' ns',
    ),
  ]
}

function proxyRows(samples: Samples): Row[] {
  const pair = (metric: Metric): number[] =>
    quotient(samples, metric, 'http-gear3', bestPair(samples, 'http', metric))
  const grpc = quotient(samples, 'cpuUs', 'grpc-gear3', 'grpc-nghttpx2')
  return [
    row(
      'P7',
      'gear 3, HTTP/1.1, CPU a request against the best sidecar pair',
      { atMost: 1.5 },
      pair('cpuUs'),
    ),
    row(
      'P8',
      'gear 3, HTTP/1.1, throughput against the best sidecar pair',
      { atLeast: 1 },
      pair('requestsPerSecond'),
    ),
    row(
      'P8-p50',
      'gear 3, p50 added at a fixed rate, against the best sidecar pair',
      { atMost: 1 },
      addedLatency(samples, 'p50Us'),
    ),
    row(
      'P8-p99',
      'gear 3, p99 added at a fixed rate, against the best sidecar pair',
      { atMost: 1.2 },
      addedLatency(samples, 'p99Us'),
    ),
    row('P9', 'gear 3, gRPC, CPU a call against two nghttpx hops', { atMost: 1.5 }, grpc),
  ]
}
