// SPDX-License-Identifier: Apache-2.0
// Rate limits of one service: a bucket for the service, for each rule of its routes, or for each identity of clients.
import { LimitScope, type RateLimit } from '@pillion/contract'
import type { Metrics } from '../metrics/metrics.ts'
import { TokenBucket } from './token-bucket.ts'

/**
 * All limits must let a request through; one that is refused by any costs nothing of the others. At `maxKeys` buckets of a
 * limit the one that was not asked longest is forgotten, and is full when it is asked again.
 */
export class RateLimits {
  readonly #maxKeys: number
  readonly #metrics: Metrics
  #limits: { readonly rule: RateLimit; readonly buckets: Map<string, TokenBucket> }[] = []

  constructor(maxKeys: number, metrics: Metrics) {
    this.#maxKeys = maxKeys
    this.#metrics = metrics
  }

  /** New rules; what changed begins with full buckets. */
  update(rules: readonly RateLimit[]): void {
    const before = this.#limits
    this.#limits = rules.map((rule) => {
      const known = before.find((limit) => isSame(limit.rule, rule))
      return { rule, buckets: known?.buckets ?? new Map<string, TokenBucket>() }
    })
  }

  /**
   * A request of `identity` that matched the rule with the text `route`. Takes its tokens and returns 0, or returns how many
   * milliseconds to wait until it may be tried again.
   */
  take(route: string, identity: number, nowMs: number): number {
    if (this.#limits.length === 0) return 0
    let waitMs = 0
    const taken: TokenBucket[] = []
    for (const { rule, buckets } of this.#limits) {
      const bucket = this.#bucket(
        rule,
        buckets,
        keyOf(rule.scope, route, identity),
        nowMs,
      )
      waitMs = Math.max(waitMs, bucket.waitMs(rule, nowMs))
      taken.push(bucket)
    }
    if (waitMs === 0) for (const bucket of taken) bucket.take()
    return waitMs
  }

  #bucket(
    rule: RateLimit,
    buckets: Map<string, TokenBucket>,
    key: string,
    nowMs: number,
  ): TokenBucket {
    const known = buckets.get(key)
    const bucket = known ?? new TokenBucket(rule, nowMs)
    // The order of a map is that of insertion: the first is the one that was not asked longest.
    if (known !== undefined) buckets.delete(key)
    buckets.set(key, bucket)
    const [oldest] = buckets.keys()
    if (buckets.size > this.#maxKeys && oldest !== undefined) {
      buckets.delete(oldest)
      this.#metrics.counters.limitKeysForgotten++
    }
    return bucket
  }
}

function keyOf(scope: LimitScope, route: string, identity: number): string {
  if (scope === LimitScope.ROUTE) return route
  return scope === LimitScope.IDENTITY ? String(identity) : ''
}

function isSame(a: RateLimit, b: RateLimit): boolean {
  return (
    a.scope === b.scope &&
    a.requests === b.requests &&
    a.intervalMs === b.intervalMs &&
    a.burst === b.burst
  )
}
