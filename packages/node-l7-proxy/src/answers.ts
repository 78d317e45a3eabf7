// SPDX-License-Identifier: Apache-2.0
// The way back: from an attempt's events, through retry and response filters, to the client and to telemetry.
import type { Duplex } from 'node:stream'
import type { Attempt, AttemptSink } from './attempt.ts'
import type { Affinity } from './cluster/affinity.ts'
import type { Verifier } from './authorize/verifier.ts'
import type { ConfigStore } from './config/config.ts'
import { outcomes, ProxyError, type ProxyErrorCode } from './errors.ts'
import type { Exchange, Verdict } from './exchange.ts'
import { Extensions } from './extension/extensions.ts'
import type { FilterLibrary } from './extension/library.ts'
import type { Fault } from './filter/fault.ts'
import { editHeaders } from './filter/header-modifier.ts'
import { stripHopByHop } from './filter/hop-by-hop.ts'
import { nowSeconds, sessionField } from './filter/session.ts'
import { nextTry, outcomeOfHead, settleCall } from './filter/next-try.ts'
import type { TryOutcome } from './filter/retry.ts'
import {
  deadlineExceeded,
  encodeMessage,
  grpcStatus,
  trailersOnly,
  unavailable,
} from './grpc/status.ts'
import { getHeader, type Headers, removeHeader, setHeader } from './headers.ts'
import type { GlobalLimits } from './limit/global-limits.ts'
import type { Metrics } from './metrics/metrics.ts'
import { cleanTrailers } from './trailers.ts'
import type { Telemetry } from './telemetry.ts'
import type { UpstreamPools } from './upstream/pool.ts'
import type { UpstreamFailure } from './upstream/upstream.ts'

/** What the request path works with. */
export type Parts = {
  readonly config: ConfigStore
  readonly pools: UpstreamPools
  readonly affinity: Affinity
  readonly verifier: Verifier
  readonly limits: GlobalLimits
  readonly library: FilterLibrary
  readonly metrics: Metrics
  readonly telemetry: Telemetry
  /** True while draining: connections end with their current request. */
  readonly isDraining: () => boolean
}

/** What an error's answer has other than the table says. */
type FailureAnswer = {
  readonly status?: number
  readonly grpcStatus?: number
  readonly headers?: Headers
  /** '': the error's own text. */
  readonly body?: string
}

/** What the client is told, and where it is counted. */
const failures = {
  connect: ['CONNECT_FAILED', 'connectFailures'],
  denied: ['POLICY_DENIED', 'policyDenied'],
  refused: ['UPSTREAM_RESET', undefined],
  reset: ['UPSTREAM_RESET', undefined],
  protocol: ['UPSTREAM_PROTOCOL', 'upstreamProtocolErrors'],
  overflow: ['OVERFLOW', undefined],
} as const satisfies Record<UpstreamFailure['kind'], readonly [ProxyErrorCode, unknown]>

const hasNoBody = (status: number): boolean => status === 204 || status === 304

export class Answers implements AttemptSink {
  readonly #parts: Parts
  readonly #tryAgain: (exchange: Exchange) => void
  /** Filters of users. */
  readonly extensions: Extensions

  constructor(parts: Parts, tryAgain: (exchange: Exchange) => void) {
    this.#parts = parts
    this.extensions = new Extensions(parts.library, parts.metrics.filters, this)
    this.#tryAgain = tryAgain
  }

  /** Bounds everything that is still to come. */
  startDeadline(exchange: Exchange, boundMs: number): void {
    exchange.deadlineMs = performance.now() + boundMs
    exchange.requestTimer = setTimeout(() => {
      exchange.attempt?.expire()
      exchange.race?.expire()
      this.#fail(exchange, 'REQUEST_TIMEOUT', `${boundMs} ms`)
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
    exchange.responder.head(status, headers, ended, this.#closes(exchange))
    if (ended) this.#finish(exchange, '-', '')
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
    this.#finish(exchange, '-', '')
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
    this.#fail(exchange, code, detail)
  }

  timedOut(attempt: Attempt): void {
    const { exchange } = attempt
    if (!exchange.headSent && this.#retry(attempt, { kind: 'timeout' })) return
    this.#fail(exchange, 'BACKEND_TIMEOUT', attempt.endpoint.name)
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
      this.#finish(exchange, '-', '')
    })
  }

  /** The client went away. */
  gone(exchange: Exchange): void {
    if (exchange.done) return
    exchange.attempt?.cancel()
    if (!exchange.headSent) exchange.status = outcomes.CANCELLED.status
    if (exchange.grpc) exchange.grpcStatus = outcomes.CANCELLED.grpc
    this.#finish(exchange, outcomes.CANCELLED.flag, outcomes.CANCELLED.text)
    exchange.asking?.cancel()
  }

  /** Bytes of it wait, and `share` has no room for them. */
  shed(exchange: Exchange, share: string): void {
    const begun = exchange.headSent
    if (!exchange.done) exchange.attempt?.cancel()
    this.#fail(exchange, 'OVERFLOW', share)
    if (begun) exchange.responder.abort() // also what its endpoint has long ended
  }

  /** An answer of the proxy's own that is no error. */
  answer(
    exchange: Exchange,
    status: number,
    headers: Headers,
    text: string,
    flag = '-',
  ): void {
    this.#say(exchange, status, headers, text)
    this.#finish(exchange, flag, '')
  }

  /** An error before an attempt. */
  refuse(exchange: Exchange, code: ProxyErrorCode, detail = ''): void {
    if (exchange.race?.survives() === true) return
    if (code === 'OVERFLOW') this.#parts.metrics.counters.pendingOverflow++
    this.#fail(exchange, code, detail)
  }

  /** A limit of the service's circuit breaker: `refusal` says which. */
  overflow(exchange: Exchange, refusal: string): void {
    if (exchange.race?.survives() === true) return
    const { name } = exchange.target ?? exchange.service
    this.#parts.metrics.services.add('breakerRequests', name)
    this.#fail(exchange, 'OVERFLOW', `${name}: ${refusal}`)
  }

  /** A rate limit: the client is told when to come again (RFC 6585 4), where that is known. `more`: what the answer has. */
  limit(exchange: Exchange, waitMs: number, more: FailureAnswer = {}): void {
    const { name } = exchange.service
    this.#parts.metrics.services.add('rateLimited', name)
    const headers = [...(more.headers ?? [])]
    if (waitMs > 0) setHeader(headers, 'retry-after', String(Math.ceil(waitMs / 1000)))
    this.#fail(exchange, 'RATE_LIMITED', name, { ...more, headers })
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
      else this.#fail(exchange, 'FAULT', exchange.service.name, abort)
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
      this.#fail(exchange, 'RETRY_BUDGET', exchange.service.name)
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

  /** Ends the exchange with an error, in the way that the client still can understand. */
  #fail(
    exchange: Exchange,
    code: ProxyErrorCode,
    detail: string,
    more: FailureAnswer = {},
  ): void {
    if (exchange.done) return
    const error = new ProxyError(code, detail)
    const { responder } = exchange
    const { status = error.status, grpcStatus: grpc = error.grpcStatus } = more
    const extra = ['x-pillion-reason', error.code, ...(more.headers ?? [])]
    if (exchange.challenge !== undefined && error.status === 401)
      extra.push('www-authenticate', exchange.challenge)
    // A browser may read why, as with Envoy's local replies; header modifiers are about what a backend says.
    if (exchange.cors !== undefined) editHeaders(extra, exchange.cors)
    if (exchange.headSent) this.#cutOff(exchange, error)
    else if (exchange.grpc) {
      exchange.status = 200
      exchange.grpcStatus = grpc
      responder.head(
        200,
        [...trailersOnly(grpc, error.message), ...extra],
        true,
        this.#closes(exchange),
      )
    } else {
      const plain = ['content-type', 'text/plain; charset=utf-8']
      const typed = getHeader(extra, 'content-type') !== undefined
      const text = more.body || `${error.message}\n`
      this.#say(exchange, status, typed ? extra : [...plain, ...extra], text)
    }
    exchange.headSent = true
    this.#finish(exchange, error.flag, error.message)
  }

  /** A whole answer of the proxy's own. */
  #say(exchange: Exchange, status: number, headers: Headers, text: string): void {
    const { responder } = exchange
    exchange.status = status
    exchange.headSent = true
    const body = Buffer.from(text)
    // 204 and 304 say none (RFC 9110 8.6, 15.4.5).
    const length = hasNoBody(status) ? [] : ['content-length', String(body.length)]
    const list = [...headers, ...length]
    responder.head(status, list, body.length === 0, this.#closes(exchange))
    if (body.length === 0) return
    responder.write(body)
    responder.end(undefined)
  }

  /** The head is gone already: gRPC can still say why, HTTP can only be seen to be incomplete. */
  #cutOff(exchange: Exchange, error: ProxyError): void {
    if (!exchange.grpc) {
      exchange.responder.abort()
      return
    }
    exchange.grpcStatus =
      error.code === 'REQUEST_TIMEOUT' ? deadlineExceeded : unavailable
    exchange.responder.end([
      'grpc-status',
      String(exchange.grpcStatus),
      'grpc-message',
      encodeMessage(error.message),
    ])
  }

  #closes(exchange: Exchange): boolean {
    if (this.#parts.isDraining()) return true
    // No longer declared, or declared as something else: the next connection must be made anew.
    const { service, connection } = exchange
    return (
      service.protocol !== connection.service.protocol ||
      !this.#parts.config.current.byId.has(service.id)
    )
  }

  #finish(exchange: Exchange, flag: string, detail: string): void {
    if (exchange.done) return
    exchange.done = true
    // What is still on its way must be read, or the connection's next request never comes.
    exchange.message.body?.discard()
    if (exchange.requestTimer !== undefined) clearTimeout(exchange.requestTimer)
    if (exchange.retryTimer !== undefined) clearTimeout(exchange.retryTimer)
    exchange.retriedAt?.leaveRetry()
    exchange.race?.end(flag)
    const { metrics, telemetry, config } = this.#parts
    metrics.gauges.activeRequests--
    const verdict: Verdict = { status: exchange.status, flag, detail }
    telemetry.request(exchange, verdict, config.current)
  }
}
