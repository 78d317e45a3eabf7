// SPDX-License-Identifier: Apache-2.0
// PURE. Hedging (gRFC A6, for HTTP as well): what an attempt's end means for a request of which several attempts may run. Who
// sends, cancels and counts is race.ts.
import type { HedgeRule } from '../route/table.ts'
import type { TryOutcome } from './retry.ts'

/** How it stands when an attempt has ended. */
export type HedgeState = {
  /** Attempts that went out, the one that ended included. */
  readonly sent: number
  /** Attempts that may still answer. */
  readonly running: number
  /** No more may go out: a server asked for it, no endpoint is left, or a bound was met. */
  readonly stopped: boolean
  /** Milliseconds that are left of an earlier pushback. */
  readonly heldMs: number
}

/**
 * `answer`: it is what the client gets, and ends all others. The rest is forgotten: `wait` for what runs, `stop` as well as
 * sending, or `send` the next in `inMs`, instead of when it was due.
 */
export type HedgeStep =
  | { readonly kind: 'answer' | 'wait' | 'stop' }
  | { readonly kind: 'send'; readonly inMs: number }

/** After an attempt that came out as `outcome`. One that was good never comes here. */
export function stepAfter(
  rule: HedgeRule,
  { sent, running, stopped, heldMs }: HedgeState,
  outcome: TryOutcome,
): HedgeStep {
  if (isFatal(rule, outcome)) return { kind: 'answer' }
  const pushback = outcome.kind === 'grpc' ? outcome.pushback : undefined
  const others = running > 0
  if (pushback === 'never') return { kind: others ? 'stop' : 'answer' }
  // What we refuse ourselves, or policy, is no reason to send sooner than planned, nor to give up what runs.
  if (outcome.kind === 'final' || stopped || sent >= rule.maxAttempts)
    return { kind: others ? 'wait' : 'answer' }
  return { kind: 'send', inMs: Math.max(pushback ?? 0, heldMs) }
}

/** Not having an answer never is: another endpoint may have one, and the request may be processed twice. */
function isFatal({ codes, grpcCodes }: HedgeRule, outcome: TryOutcome): boolean {
  if (outcome.kind === 'status') return !codes.has(outcome.status)
  return outcome.kind === 'grpc' && !grpcCodes.has(outcome.status)
}
