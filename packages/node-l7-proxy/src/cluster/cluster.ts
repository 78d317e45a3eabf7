// SPDX-License-Identifier: Apache-2.0
// What one service is, over all its configurations: counts, ejections, buckets, and the balancer that they have a say in.
import type {
  Balancing,
  ConnectionPool,
  Faults,
  GlobalRateLimit,
  Traffic,
} from '@pillion/contract'
import { same } from '@pillion/contract'
import { RetryThrottle } from '../filter/retry-throttle.ts'
import type { Headers } from '../headers.ts'
import { RateLimits } from '../limit/rate-limits.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Balancer } from './balance/balancer.ts'
import { hashKey } from './balance/hash-key.ts'
import { leastRequest } from './balance/p2c.ts'
import { balancerOf } from './balance/select.ts'
import { CircuitBreaker } from './breaker.ts'
import type { Endpoint } from './endpoint.ts'
import { type AttemptResult, type EjectionObserver, OutlierDetector } from './outlier.ts'

const now = (): number => performance.now()

export class Cluster {
  readonly breaker: CircuitBreaker = new CircuitBreaker()
  readonly outliers: OutlierDetector
  readonly limits: RateLimits
  readonly throttle: RetryThrottle = new RetryThrottle()
  #traffic: Traffic | undefined
  #balancer: Balancer = leastRequest
  #balancing: Balancing | undefined
  /** Name of the zone to prefer; '': no preference. */
  #zone = ''
  /** All that can be chosen. */
  #endpoints: readonly Endpoint[] = []
  #near: WeakMap<readonly Endpoint[], readonly Endpoint[]> = new WeakMap()

  /**
   * `maxKeys`: buckets that the rate limits of the service keep, at most. `observer` is told of its ejections.
   */
  constructor(metrics: Metrics, maxKeys: number, observer: EjectionObserver) {
    this.outliers = new OutlierDetector(observer)
    this.limits = new RateLimits(maxKeys, metrics)
  }

  /** What is declared; counts, ejections and buckets stay. `zone` is the node's, '' when unknown. */
  update(
    traffic: Traffic | undefined,
    endpoints: readonly Endpoint[],
    zone: string,
  ): void {
    this.#endpoints = endpoints
    const before = this.#traffic
    this.#traffic = traffic
    const { balancing } = traffic ?? {}
    const wanted = balancing?.preferZone === true ? zone : ''
    if (wanted !== this.#zone) this.#near = new WeakMap()
    this.#zone = wanted
    if (same(before, traffic)) {
      // By reference, so that pools see that nothing changed.
      this.#traffic = before
      return
    }
    this.breaker.update(traffic?.circuitBreaker)
    this.outliers.update(traffic?.outlierEjection)
    this.limits.update(traffic?.rateLimits ?? [])
    this.throttle.update(traffic?.retryThrottling)
    this.#balancing = balancing
    if (!same(before?.balancing, balancing)) this.#balancer = balancerOf(balancing, now)
  }

  /** As declared. */
  get traffic(): Traffic | undefined {
    return this.#traffic
  }

  get connectionPool(): ConnectionPool | undefined {
    return this.#traffic?.connectionPool
  }

  get globalLimit(): GlobalRateLimit | undefined {
    return this.#traffic?.globalRateLimit
  }

  get faults(): Faults | undefined {
    return this.#traffic?.faults
  }

  /** Of `ready`, those that are not ejected, and of these the near ones. */
  usable(ready: readonly Endpoint[]): readonly Endpoint[] {
    return this.#nearest(this.outliers.usable(ready, now()))
  }

  /** One of `usable`. */
  choose(
    usable: readonly Endpoint[],
    avoid: readonly Endpoint[],
    headers: Headers,
    source: Uint8Array,
  ): Endpoint | undefined {
    const hash = this.#balancing && hashKey(this.#balancing, headers, source)
    return this.#balancer(usable, Math.random, avoid, hash)
  }

  /** An attempt's answer, or that there was none, after `ms`. */
  judge(endpoint: Endpoint, result: AttemptResult, ms: number): void {
    const nowMs = now()
    endpoint.latency.observe(ms, result !== 'good', nowMs)
    this.outliers.record(endpoint, result, this.#endpoints, nowMs)
  }

  /** It has not answered after `ms`, and nobody waits for it any more. */
  outlasted(endpoint: Endpoint, ms: number): void {
    const nowMs = now()
    if (ms > endpoint.latency.at(nowMs)) endpoint.latency.observe(ms, true, nowMs)
  }

  #nearest(endpoints: readonly Endpoint[]): readonly Endpoint[] {
    if (this.#zone === '') return endpoints
    let near = this.#near.get(endpoints)
    if (near === undefined)
      this.#near.set(endpoints, (near = inZone(endpoints, this.#zone)))
    return near
  }
}

/** PURE. Those in the zone, or all when none is: another zone is better than no answer. */
export function inZone(
  endpoints: readonly Endpoint[],
  zone: string,
): readonly Endpoint[] {
  const near = endpoints.filter((endpoint) => endpoint.zone === zone)
  return near.length === 0 || near.length === endpoints.length ? endpoints : near
}
