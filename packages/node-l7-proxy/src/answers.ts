// SPDX-License-Identifier: Apache-2.0
// The way back: what endpoints say, from an attempt's events, through retry and response filters, to the client.
import type { Duplex } from 'node:stream'
import type { Attempt, AttemptSink } from './attempt.ts'
import type { ProxyErrorCode } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { Extensions } from './extension/extensions.ts'
import type { Fault } from './filter/fault.ts'
import { editHeaders } from './filter/header-modifier.ts'
import { stripHopByHop } from './filter/hop-by-hop.ts'
import { nowSeconds, sessionField } from './filter/session.ts'
import { nextTry, outcomeOfHead, settleCall } from './filter/next-try.ts'
import type { TryOutcome } from './filter/retry.ts'
import { grpcStatus } from './grpc/status.ts'
import { type Headers, removeHeader } from './headers.ts'
import type { Parts, Replies } from './replies.ts'
import { cleanTrailers } from './trailers.ts'
import type { UpstreamFailure } from './upstream/upstream.ts'

/** What the client is told, and where it is counted. */
const failures = {
  connect: ['CONNECT_FAILED', 'connectFailures'],
  denied: ['POLICY_DENIED', 'policyDenied'],
  refused: ['UPSTREAM_RESET', undefined],
  reset: ['UPSTREAM_RESET', undefined],
  protocol: ['UPSTREAM_PROTOCOL', 'upstreamProtocolErrors'],
  overflow: ['OVERFLOW', undefined],
} as const satisfies Record<UpstreamFailure['kind'], readonly [ProxyErrorCode, unknown]>

export class Answers implements AttemptSink {
  readonly #parts: Parts
  readonly #replies: Replies
  readonly #tryAgain: (exchange: Exchange) => void
  /** Filters of users. */
  readonly extensions: Extensions

  constructor(parts: Parts, replies: Replies, tryAgain: (exchange: Exchange) => void) {
    this.#parts = parts
    this.#replies = replies
    this.extensions = new Extensions(parts.library, parts.metrics.filters, replies, this)
    this.#tryAgain = tryAgain
  }

  /** Bounds everything that is still to come. */
  startDeadline(exchange: Exchange, boundMs: number): void {
    exchange.deadlineMs = performance.now() + boundMs
    exchange.requestTimer = setTimeout(() => {
      exchange.attempt?.expire()
      exchange.race?.expire()
      this.#replies.fail(exchange, 'REQUEST_TIMEOUT', `${boundMs} ms`)
    }, boundMs)
  }

  informational(exchange: Exchange, status: number, headers: Headers): void {
    if (exchange.race !== undefined) return // it may be of an attempt that loses
    stripHopByHop(headers)
    removeHeader(headers, 'content-length') // has none (RFC 9110 8.6), and HTTP/2 peers reset for it
    exchange.responder.informational(status, headers)
  }

  head(attempt: Attempt, status: number, headers: Headers, ended: boolean): void {
    const { exchange } = attempt
    if (exchange.grpc) exchange.grpcStatus = grpcStatus(headers)
    const outcome = outcomeOfHead(exchange, status, headers, ended)
    if (ended) settleCall(exchange, headers)
    if (outcome !== undefined && this.#retry(attempt, outcome)) {
      attempt.discard()
      return
    }
    exchange.race?.win(attempt)
    stripHopByHop(headers)
    const uses = exchange.service.extensions
    if (uses === undefined) return this.#forward(attempt, status, headers, ended)
    this.extensions.onHead(attempt, uses, status, headers, () => {
      this.#forward(attempt, status, headers, ended)
    })
  }

  /** The head of the answer, to the client. */
  #forward(attempt: Attempt, status: number, headers: Headers, ended: boolean): void {
    const { exchange } = attempt
    if (exchange.cors !== undefined) editHeaders(headers, exchange.cors)
    for (const edit of exchange.responseEdits) editHeaders(headers, edit)
    const session = exchange.rule?.session
    if (session !== undefined)
      headers.push(
        ...sessionField(session, exchange.session, attempt.endpoint, nowSeconds()),
      )
    exchange.status = status
    exchange.headSent = true
    exchange.responder.head(status, headers, ended, this.#replies.closes(exchange))
    if (ended) this.#replies.finish(exchange, '-', '')
  }

  data(attempt: Attempt, chunk: Buffer): void {
    const { exchange } = attempt
    exchange.responseBytes += chunk.length
    exchange.responseMessages?.data(chunk)
    if (exchange.responder.write(chunk)) return
    attempt.pause()
    exchange.responder.behind = attempt
    exchange.responder.onDrain = () => {
      attempt.resume()
    }
  }

  end(attempt: Attempt, received: Headers | undefined): void {
    const { exchange } = attempt
    const trailers = cleanTrailers(received)
    if (trailers !== undefined) {
      stripHopByHop(trailers)
      if (exchange.grpc) exchange.grpcStatus = grpcStatus(trailers) ?? exchange.grpcStatus
    }
    settleCall(exchange, trailers)
    exchange.responder.end(trailers)
    this.#replies.finish(exchange, '-', '')
  }

  failed(attempt: Attempt, failure: UpstreamFailure): void {
    const { exchange } = attempt
    const { kind, detail } = failure
    const [code, counter] = failures[kind]
    const { counters, services } = this.#parts.metrics
    if (counter !== undefined) counters[counter]++
    if (kind === 'overflow')
      services.add('breakerConnections', (exchange.target ?? exchange.service).name)
    const final = kind === 'denied' || kind === 'protocol' || kind === 'overflow'
    if (!exchange.headSent && this.#retry(attempt, { kind: final ? 'final' : kind }))
      return
    this.#replies.fail(exchange, code, detail)
  }

  timedOut(attempt: Attempt): void {
    const { exchange } = attempt
    if (!exchange.headSent && this.#retry(attempt, { kind: 'timeout' })) return
    this.#replies.fail(exchange, 'BACKEND_TIMEOUT', attempt.endpoint.name)
  }

  tunnel(attempt: Attempt, headers: Headers, socket: Duplex, head: Buffer): void {
    const { exchange } = attempt
    stripHopByHop(headers)
    exchange.status = 101
    exchange.headSent = true
    if (exchange.requestTimer !== undefined) clearTimeout(exchange.requestTimer)
    exchange.responder.tunnel(headers, socket, head, (sent) => {
      attempt.leaveTunnel()
      exchange.responseBytes += sent
      this.#replies.finish(exchange, '-', '')
    })
  }

  /** A failure on purpose: late, wrong, or both. */
  inject(exchange: Exchange, { delayMs, abort }: Fault): void {
    const { counters } = this.#parts.metrics
    if (delayMs > 0) counters.faultsDelayed++
    if (abort !== undefined) counters.faultsAborted++
    // Cleared when the exchange ends, as that of a retry.
    exchange.retryTimer = setTimeout(() => {
      exchange.retryTimer = undefined
      if (abort === undefined) this.#tryAgain(exchange)
      else this.#replies.fail(exchange, 'FAULT', exchange.service.name, abort)
    }, delayMs)
  }

  /** True when another try follows, or the budget has ended the exchange. */
  #retry(attempt: Attempt, outcome: TryOutcome): boolean {
    const { exchange } = attempt
    const { metrics, telemetry } = this.#parts
    const next =
      exchange.race?.after(attempt, outcome) ?? nextTry(attempt, outcome, metrics)
    if (next.kind === 'no') return false
    if (next.kind === 'over-budget') {
      attempt.discard()
      this.#replies.fail(exchange, 'RETRY_BUDGET', exchange.service.name)
      return true
    }
    if (outcome.kind === 'status') telemetry.attempt(attempt, outcome.status, undefined)
    else telemetry.attempt(attempt, 0, outcome.kind)
    if (next.kind === 'raced') return true
    exchange.retryTimer = setTimeout(() => {
      exchange.retryTimer = undefined
      this.#tryAgain(exchange)
    }, next.delayMs)
    return true
  }
}
