// SPDX-License-Identifier: Apache-2.0
// Whether a try that went wrong may be made again. Follows the text of GEP-1731 of August 2026: codes as listed; no
// connection and refused streams always; a reset after bytes were sent only for idempotent methods (RFC 9110 9.2.2).
import type { RetryRule } from '../route/table.ts'

/** What became of a try. */
export type TryOutcome =
  | { readonly kind: 'connect' | 'refused' | 'reset' | 'timeout' }
  | { readonly kind: 'status'; readonly status: number }
  /** Trailers-Only: the call never began to answer (gRFC A6). */
  | {
      readonly kind: 'grpc'
      readonly status: number
      /** What the server says of a retry; see retry-throttle.ts. */
      readonly pushback: number | 'never' | undefined
    }
  | { readonly kind: 'final' }

/** RFC 9110 9.2.2. */
export const idempotent: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
])
const safe = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** What never reached an application adds no load: it is free of budgets and throttling (gRFC A6). */
export function isTransparent({ kind }: TryOutcome): boolean {
  return kind === 'connect' || kind === 'refused'
}

/** `tries` is how many were made. Says nothing of the budget and of whether the body can be sent again. */
export function isRetryable(
  rule: RetryRule,
  method: string,
  outcome: TryOutcome,
  tries: number,
): boolean {
  if (tries > rule.attempts) return false
  switch (outcome.kind) {
    case 'connect':
    case 'refused':
      return true
    case 'reset':
      // Undeclared, once: a kept-alive connection that its server closed just now looks like this.
      return rule.declared ? idempotent.has(method) : tries === 1 && safe.has(method)
    case 'timeout':
      return rule.declared && (idempotent.has(method) || rule.codes.has(504))
    case 'status':
      return rule.codes.has(outcome.status)
    case 'grpc':
      return outcome.pushback !== 'never' && rule.grpcCodes.has(outcome.status)
    case 'final':
      return false
  }
}

const backoffMaxMs = 10_000

/** Exponential with jitter; never earlier than the base, which both readings of GEP-1731 allow. `retry` counts from 1. */
export function backoffMs(rule: RetryRule, retry: number, random: number): number {
  const grown = Math.min(
    rule.backoffMs * 2 ** (retry - 1),
    Math.max(backoffMaxMs, rule.backoffMs),
  )
  return grown * (1 + random * 0.5)
}
