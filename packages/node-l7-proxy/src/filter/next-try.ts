// SPDX-License-Identifier: Apache-2.0
// Whether and when a request is tried again, after everybody who has a say: its rule, its body, throttling, circuit breaker and
// budget, in the order of what they cost the client.
import type { Attempt } from '../attempt.ts'
import type { Exchange } from '../exchange.ts'
import { grpcStatus } from '../grpc/status.ts'
import type { Headers } from '../headers.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { backoffMs, isRetryable, isTransparent, type TryOutcome } from './retry.ts'
import { pushbackOf } from './retry-throttle.ts'

/**
 * `no`: what came goes to the client. `over-budget`: the client gets 503 (GEP-3388). `raced`: other attempts run, or are
 * due (race.ts).
 */
export type NextTry =
  | { readonly kind: 'no' }
  | { readonly kind: 'over-budget' }
  | { readonly kind: 'raced' }
  | { readonly kind: 'again'; readonly delayMs: number }

const no: NextTry = { kind: 'no' }

/** After an attempt that came out as `outcome`. Counts, and takes the places and tokens that another try needs. */
export function nextTry(
  { exchange }: Attempt,
  outcome: TryOutcome,
  metrics: Metrics,
): NextTry {
  const { rule, message, target } = exchange
  if (
    rule === undefined ||
    !isRetryable(rule.retry, message.method, outcome, exchange.attempts)
  )
    return no
  const transparent = isTransparent(outcome)
  const said = permit(exchange, transparent, metrics)
  if (said !== 'yes') return { kind: said }
  metrics.counters.retries++
  const pushback = outcome.kind === 'grpc' ? outcome.pushback : undefined
  if (typeof pushback === 'number') {
    // The server's own wish, exactly; backoff begins anew after it (gRFC A6).
    exchange.backoffFrom = exchange.attempts
    return { kind: 'again', delayMs: pushback }
  }
  const elsewhere = transparent && exchange.tried.length < (target?.ready.length ?? 0)
  const failures = exchange.attempts - exchange.backoffFrom
  const delayMs = elsewhere ? 0 : backoffMs(rule.retry, failures, Math.random())
  return { kind: 'again', delayMs }
}

/**
 * Asks everybody but the rule about one more attempt: counts, and takes the place and the token that it needs. `transparent`:
 * the one before never reached an application.
 */
export function permit(
  exchange: Exchange,
  transparent: boolean,
  { counters, services }: Metrics,
): 'yes' | 'no' | 'over-budget' {
  const { message, service, target } = exchange
  if (message.body !== undefined && !message.body.replayable) {
    counters.replayOverflow++
    return 'no'
  }
  const { breaker, throttle } = (target ?? service).cluster
  if (exchange.grpc && !transparent && !throttle.allows) {
    counters.retriesThrottled++
    return 'no'
  }
  if (exchange.retriedAt === undefined) {
    if (!breaker.enterRetry()) {
      services.add('breakerRetries', (target ?? service).name)
      return 'no'
    }
    exchange.retriedAt = breaker
  }
  if (transparent || service.budget.take(performance.now())) return 'yes'
  services.add('budgetExhausted', service.name)
  return 'over-budget'
}

/** What a head means for a retry; undefined: it is a good one. `ended`: nothing follows it. */
export function outcomeOfHead(
  { grpc }: Exchange,
  status: number,
  headers: Headers,
  ended: boolean,
): TryOutcome | undefined {
  const said = grpc && ended ? grpcStatus(headers) : undefined
  if (said !== undefined && said !== 0)
    return { kind: 'grpc', status: said, pushback: pushbackOf(headers) }
  return status >= 400 ? { kind: 'status', status } : undefined
}

/** gRFC A6: tells the throttle how a call's try ended, by the trailers, or the head that is all there is. */
export function settleCall(exchange: Exchange, trailers: Headers | undefined): void {
  const { rule, target, grpc, grpcStatus: status = 2 } = exchange
  if (!grpc || target === undefined || rule === undefined) return
  const refused = trailers !== undefined && pushbackOf(trailers) === 'never'
  const codes = rule.hedge?.grpcCodes ?? rule.retry.grpcCodes
  if (refused || codes.has(status)) target.cluster.throttle.failed()
  else target.cluster.throttle.succeeded()
}
