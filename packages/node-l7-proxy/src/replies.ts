// SPDX-License-Identifier: Apache-2.0
// What the proxy itself says, and the one end of every exchange.
import type { Affinity } from './cluster/affinity.ts'
import type { Verifier } from './authorize/verifier.ts'
import type { ConfigStore } from './config/config.ts'
import { outcomes, ProxyError, type ProxyErrorCode } from './errors.ts'
import type { Exchange, Verdict } from './exchange.ts'
import type { FilterLibrary } from './extension/library.ts'
import { editHeaders } from './filter/header-modifier.ts'
import {
  deadlineExceeded,
  encodeMessage,
  trailersOnly,
  unavailable,
} from './grpc/status.ts'
import { getHeader, type Headers, setHeader } from './headers.ts'
import type { GlobalLimits } from './limit/global-limits.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { Telemetry } from './telemetry.ts'
import type { UpstreamPools } from './upstream/pool.ts'

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

const hasNoBody = (status: number): boolean => status === 204 || status === 304

export class Replies {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** The client went away. */
  gone(exchange: Exchange): void {
    if (exchange.done) return
    exchange.attempt?.cancel()
    if (!exchange.headSent) exchange.status = outcomes.CANCELLED.status
    if (exchange.grpc) exchange.grpcStatus = outcomes.CANCELLED.grpc
    this.finish(exchange, outcomes.CANCELLED.flag, outcomes.CANCELLED.text)
    exchange.asking?.cancel()
  }

  /** Bytes of it wait, and `share` has no room for them. */
  shed(exchange: Exchange, share: string): void {
    const begun = exchange.headSent
    if (!exchange.done) exchange.attempt?.cancel()
    this.fail(exchange, 'OVERFLOW', share)
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
    this.finish(exchange, flag, '')
  }

  /** An error before an attempt. */
  refuse(exchange: Exchange, code: ProxyErrorCode, detail = ''): void {
    if (exchange.race?.survives() === true) return
    if (code === 'OVERFLOW') this.#parts.metrics.counters.pendingOverflow++
    this.fail(exchange, code, detail)
  }

  /** A limit of the service's circuit breaker: `refusal` says which. */
  overflow(exchange: Exchange, refusal: string): void {
    if (exchange.race?.survives() === true) return
    const { name } = exchange.target ?? exchange.service
    this.#parts.metrics.services.add('breakerRequests', name)
    this.fail(exchange, 'OVERFLOW', `${name}: ${refusal}`)
  }

  /** A rate limit: the client is told when to come again (RFC 6585 4), where that is known. `more`: what the answer has. */
  limit(exchange: Exchange, waitMs: number, more: FailureAnswer = {}): void {
    const { name } = exchange.service
    this.#parts.metrics.services.add('rateLimited', name)
    const headers = [...(more.headers ?? [])]
    if (waitMs > 0) setHeader(headers, 'retry-after', String(Math.ceil(waitMs / 1000)))
    this.fail(exchange, 'RATE_LIMITED', name, { ...more, headers })
  }

  /** Ends the exchange with an error, in the way that the client still can understand. */
  fail(
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
        this.closes(exchange),
      )
    } else {
      const plain = ['content-type', 'text/plain; charset=utf-8']
      const typed = getHeader(extra, 'content-type') !== undefined
      const text = more.body || `${error.message}\n`
      this.#say(exchange, status, typed ? extra : [...plain, ...extra], text)
    }
    exchange.headSent = true
    this.finish(exchange, error.flag, error.message)
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
    responder.head(status, list, body.length === 0, this.closes(exchange))
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

  /** Whether the connection should not be used again. */
  closes(exchange: Exchange): boolean {
    if (this.#parts.isDraining()) return true
    // No longer declared, or declared as something else: the next connection must be made anew.
    const { service, connection } = exchange
    return (
      service.protocol !== connection.service.protocol ||
      !this.#parts.config.current.byId.has(service.id)
    )
  }

  /** The one end of every exchange; only the first counts. */
  finish(exchange: Exchange, flag: string, detail: string): void {
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
