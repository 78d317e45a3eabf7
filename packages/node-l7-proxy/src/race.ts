// SPDX-License-Identifier: Apache-2.0
// The attempts of one hedged request, of which several run at a time, each at another endpoint. The first whose head is an
// answer wins; the others are cancelled, which says nothing against their endpoints.
import type { Attempt } from './attempt.ts'
import type { Endpoint } from './cluster/endpoint.ts'
import type { Exchange } from './exchange.ts'
import { stepAfter } from './filter/hedge.ts'
import { type NextTry, permit } from './filter/next-try.ts'
import { idempotent, isTransparent, type TryOutcome } from './filter/retry.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { HedgeRule } from './route/table.ts'
import type { Telemetry } from './telemetry.ts'
import { lost } from './trace/span.ts'

/** What a race works with. `send` begins one more attempt. */
export type RaceParts = { readonly metrics: Metrics; readonly telemetry: Telemetry }
type Send = (exchange: Exchange) => void

const raced: NextTry = { kind: 'raced' }

/**
 * The race of a request whose rule has hedging; undefined: it is sent as any other. HTTP is, when its method is not
 * idempotent: gRPC says nothing of that, so there the declaration does. And what belongs to one endpoint (sessions,
 * affinity) or is a conversation (Upgrade, Expect).
 */
export function raceOf(
  exchange: Exchange,
  rule: HedgeRule,
  parts: RaceParts,
  send: Send,
): Race | undefined {
  const { message, grpc, session, target } = exchange
  if (!grpc && !idempotent.has(message.method)) return undefined
  if (message.upgrade !== undefined || message.expectContinue) return undefined
  if (session !== undefined || target === undefined || target.affinityMs > 0)
    return undefined
  return new Race(exchange, rule, parts, send)
}

export class Race {
  readonly #exchange: Exchange
  readonly #rule: HedgeRule
  readonly #parts: RaceParts
  readonly #send: Send
  /** Those that may still answer. */
  readonly #running: Set<Attempt> = new Set()
  /** Nothing more goes out because of hedging. */
  #stopped = false
  /** There is an answer, or nobody who waits for one. */
  #over = false
  /** performance.now(): not before it, as a server asked. */
  #heldUntilMs = 0
  #awaitsBody = false

  constructor(exchange: Exchange, rule: HedgeRule, parts: RaceParts, send: Send) {
    this.#exchange = exchange
    this.#rule = rule
    this.#parts = parts
    this.#send = send
    // An endpoint that takes no body must not keep it from the next.
    exchange.message.body?.gather()
  }

  /** An attempt goes out. */
  enter(attempt: Attempt): void {
    if (attempt.resends > 0 && !this.#stopped) this.#parts.metrics.counters.hedges++
    this.#running.add(attempt)
    this.#schedule()
  }

  /** True: nothing must be sent to `endpoint` any more, or one of those that run may be there. */
  refuses(endpoint: Endpoint): boolean {
    if (this.#over) return true
    const refused = this.#running.size > 0 && this.#exchange.tried.includes(endpoint)
    if (refused) this.#stop()
    return refused
  }

  /** True when an attempt that cannot be made is no loss, because others run. Nothing more is sent then. */
  survives(): boolean {
    if (this.#running.size === 0) return false
    this.#stop()
    this.#exchange.why = undefined
    this.#exchange.challenge = undefined
    return true
  }

  /** What follows after an attempt that came out as `outcome`; undefined: nothing of hedging, it is as any other try. */
  after(attempt: Attempt, outcome: TryOutcome): NextTry | undefined {
    const exchange = this.#exchange
    this.#running.delete(attempt)
    const nowMs = performance.now()
    const state = {
      sent: exchange.attempts,
      running: this.#running.size,
      stopped: this.#stopped || !this.#hasOther(),
      heldMs: Math.max(0, this.#heldUntilMs - nowMs),
    }
    const step = stepAfter(this.#rule, state, outcome)
    if (step.kind === 'wait') return raced
    const said =
      step.kind === 'send' &&
      permit(exchange, isTransparent(outcome), this.#parts.metrics)
    if (step.kind === 'send' && said === 'yes') {
      this.#clear()
      this.#heldUntilMs = nowMs + step.inMs
      return { kind: 'again', delayMs: step.inMs }
    }
    this.#stop()
    if (step.kind !== 'answer' && this.#running.size > 0) return raced
    this.#take(attempt)
    return said === false || said === 'yes' ? undefined : { kind: said }
  }

  /** Its head is the answer. */
  win(attempt: Attempt): void {
    this.#running.delete(attempt)
    if (attempt.resends > 0) this.#parts.metrics.counters.hedgesWon++
    this.#take(attempt)
    this.end(lost)
  }

  /** The client's time is up. */
  expire(): void {
    for (const attempt of this.#running) attempt.expire()
  }

  /** Cancels what runs; `why` is for its spans. */
  end(why: string): void {
    this.#over = true
    this.#stop()
    for (const attempt of this.#running) {
      this.#parts.telemetry.attempt(attempt, 0, why)
      if (why === lost) attempt.lose()
      else attempt.cancel()
    }
    this.#running.clear()
  }

  /** The next goes out a delay after this one. The exchange has one timer for what goes out next, whatever made it. */
  #schedule(): void {
    const exchange = this.#exchange
    if (this.#stopped || exchange.attempts >= this.#rule.maxAttempts) return
    exchange.retryTimer = setTimeout(() => {
      exchange.retryTimer = undefined
      this.#due()
    }, this.#rule.delayMs)
  }

  #due(): void {
    const exchange = this.#exchange
    const { body } = exchange.message
    if (this.#stopped || exchange.retryTimer !== undefined) return
    if (exchange.attempts >= this.#rule.maxAttempts) return
    if (body !== undefined && !body.ended) return this.#awaitBody()
    const allowed =
      this.#hasOther() && permit(exchange, false, this.#parts.metrics) === 'yes'
    if (allowed) this.#send(exchange)
    else this.#stop()
  }

  /** Two at a time read a body only when it is all there. */
  #awaitBody(): void {
    if (this.#awaitsBody) return
    this.#awaitsBody = true
    this.#exchange.message.body?.tap({
      data: () => undefined,
      end: () => {
        this.#due()
      },
    })
  }

  /** As far as can be said before the balancer is asked. */
  #hasOther(): boolean {
    const { tried, target } = this.#exchange
    return tried.length < (target?.ready.length ?? 0)
  }

  /** What is told of the request is told of this one. */
  #take(attempt: Attempt): void {
    this.#exchange.attempt = attempt
    this.#exchange.destination = attempt.endpoint.destination
  }

  #stop(): void {
    this.#stopped = true
    this.#clear()
  }

  #clear(): void {
    clearTimeout(this.#exchange.retryTimer)
    this.#exchange.retryTimer = undefined
  }
}
