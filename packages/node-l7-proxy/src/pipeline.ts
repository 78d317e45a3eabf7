// SPDX-License-Identifier: Apache-2.0
// The request path. Before it: accept and origin (downstream/listener.ts), codec (downstream/http1.ts, http2.ts).
// Read `serve` and `attempt` for the way there, `Answers` for the way back, `Replies` for what the proxy says itself.
import { randomUUID } from 'node:crypto'
import { Attempt } from './attempt.ts'
import { Answers } from './answers.ts'
import type { Endpoint } from './cluster/endpoint.ts'
import { Guard } from './authorize/guard.ts'
import { appendForwardedFor, removeSpoofable } from './authorize/spoofable.ts'
import { readyFor } from './cluster/members.ts'
import { type Config, type Service, speaksHttp2 } from './config/config.ts'
import { type Connection, Exchange, type Message, type Responder } from './exchange.ts'
import type { FilterUse } from './extension/use.ts'
import { corsEdit, preflightAnswer } from './filter/cors.ts'
import { faultOf } from './filter/fault.ts'
import { editHeaders } from './filter/header-modifier.ts'
import { stripHopByHop } from './filter/hop-by-hop.ts'
import { Mirrors } from './filter/mirror.ts'
import { redirectLocation } from './filter/redirect.ts'
import { applyRequestFilters } from './filter/request-filters.ts'
import { nowSeconds, resumeSession } from './filter/session.ts'
import { requestBoundMs } from './filter/timeout.ts'
import { injectTrace, randomHex, traceOf } from './filter/trace.ts'
import { isGrpc } from './grpc/status.ts'
import { formatGrpcTimeout } from './grpc/timeout-header.ts'
import { getHeader, setHeader } from './headers.ts'
import { raceOf } from './race.ts'
import { matchRule, pickBackend } from './route/match.ts'
import { type Parts, Replies } from './replies.ts'
import type { CorsSpec, RedirectSpec, Rule } from './route/table.ts'

export class Pipeline {
  readonly #parts: Parts
  readonly #replies: Replies
  readonly #answers: Answers
  readonly #mirrors: Mirrors
  readonly #guard: Guard

  constructor(parts: Parts) {
    this.#parts = parts
    this.#mirrors = new Mirrors(parts)
    this.#replies = new Replies(parts)
    this.#answers = new Answers(parts, this.#replies, (exchange) => {
      this.#attempt(exchange)
    })
    this.#guard = new Guard(parts.verifier, parts.metrics, this.#replies)
  }

  /** A request whose head is complete. Everything that is refused is refused through one table (errors.ts). */
  serve(connection: Connection, message: Message, responder: Responder): void {
    const { config, metrics } = this.#parts
    const snapshot = config.current // one for the whole request
    // A service that is gone or no longer declared still serves the connections that were made to it.
    const service = snapshot.byId.get(connection.service.id) ?? connection.service
    const exchange = new Exchange(
      connection,
      message,
      responder,
      service,
      isGrpc(message.headers),
    )
    metrics.gauges.activeRequests++
    responder.onGone = () => {
      this.#replies.gone(exchange)
    }
    responder.onShed = (share) => {
      this.#replies.shed(exchange, share)
    }

    // What is between neighbours stays here; what only the mesh may say is not taken from a client.
    stripHopByHop(message.headers)
    removeSpoofable(message.headers)
    appendForwardedFor(message.headers, connection.client.address)
    if (message.method === 'CONNECT')
      return this.#replies.refuse(exchange, 'METHOD_UNSUPPORTED')
    if (getHeader(message.headers, 'x-request-id') === undefined)
      message.headers.push('x-request-id', randomUUID())
    exchange.trace = traceOf(message.headers, snapshot.traceSampleRatio, Math.random())

    // One spelling for routes, policy and the endpoint.
    if (!this.#guard.readPath(snapshot.policies, service, exchange)) return

    // Counted before routing: the budget is of the service, over all routes (GEP-3388).
    service.budget.request(exchange.startedMs)

    const rule = matchRule(service.table, connection.client.namespace, message)
    if (rule === undefined)
      return this.#replies.refuse(
        exchange,
        'NO_ROUTE',
        `${message.method} ${message.path}`,
      )
    exchange.rule = rule
    // Before a redirect, a limit and whatever else the rule does: a browser goes on only, and reads only, as it was allowed.
    const { cors } = rule.filters
    if (cors !== undefined && this.#isPreflight(exchange, cors)) return
    if (this.#isLimited(exchange, rule)) return
    const { globalLimit } = service.cluster
    if (globalLimit === undefined) return this.#route(exchange, rule, snapshot)
    this.#parts.limits.ask(exchange, globalLimit, (refusal) => {
      if (exchange.done) return // the client did not wait
      if (refusal === undefined) this.#route(exchange, rule, snapshot)
      else if (refusal.kind === 'over')
        this.#replies.limit(exchange, refusal.waitMs, refusal)
      else this.#replies.refuse(exchange, 'RATE_LIMIT_UNKNOWN', refusal.detail)
    })
  }

  /** What the rule makes of a request that no limit keeps, and where it leads. */
  #route(exchange: Exchange, rule: Rule, snapshot: Config): void {
    const { message, service } = exchange
    if (rule.filters.redirect !== undefined)
      return this.#redirect(exchange, rule, rule.filters.redirect)

    exchange.session = resumeSession(rule, message.headers, snapshot.byName, nowSeconds())
    const backend = exchange.session?.backend ?? pickBackend(rule, Math.random())
    if (backend?.servicePort === undefined)
      return this.#replies.refuse(exchange, 'INVALID_BACKEND', rule.text)
    if (backend.filters.redirect !== undefined)
      return this.#redirect(exchange, rule, backend.filters.redirect)

    // The rule's filters see what the client sent, the backend's what the rule made of it.
    for (const filters of [rule.filters, backend.filters]) {
      applyRequestFilters(message, filters, rule.path)
      if (filters.responseHeaders !== undefined)
        exchange.responseEdits.push(filters.responseHeaders)
    }
    // After the filters, so that a copy is what the backend sees; before the body is read.
    for (const { mirrors } of [rule.filters, backend.filters])
      this.#mirrors.copy(exchange, mirrors, Math.random)
    exchange.backend = backend
    exchange.target =
      snapshot.byName.get(backend.servicePort) ??
      (backend.servicePort === service.name ? service : undefined)

    // From here on the client waits for endpoints: the bound over all tries (GEP-1742) starts.
    const boundMs = requestBoundMs(rule.requestTimeoutMs, exchange.grpc, message.headers)
    if (boundMs > 0) this.#answers.startDeadline(exchange, boundMs)
    if (rule.hedge !== undefined)
      exchange.race = raceOf(exchange, rule.hedge, this.#parts, (hedged) => {
        this.#attempt(hedged)
      })
    const fault = faultOf(service.cluster.faults, Math.random)
    if (fault !== undefined) return this.#answers.inject(exchange, fault)
    this.#attempt(exchange)
  }

  /** One try: balance, span, send. Called again by retries and hedging. */
  #attempt(exchange: Exchange): void {
    const { config, pools } = this.#parts
    const { message, rule, connection, trace, backend } = exchange
    const target =
      exchange.target &&
      (config.current.byName.get(exchange.target.name) ?? exchange.target)
    if (!rule || !trace || !backend || !target) {
      return this.#replies.refuse(exchange, 'NO_ENDPOINT', rule?.backends[0]?.servicePort)
    }
    const endpoint = this.#balance(target, exchange)
    if (endpoint === undefined)
      return this.#replies.refuse(exchange, 'NO_ENDPOINT', target.name)
    if (exchange.race?.refuses(endpoint) === true) return

    const http2 = speaksHttp2(target.protocol, backend.protocol, connection.http2)
    const identity = this.#guard.admit(
      config.current.policies,
      exchange,
      endpoint,
      () => {
        this.#attempt(exchange)
      },
    )
    if (identity === undefined) return // refused, or its token is being verified
    const uses = exchange.service.extensions
    if (uses !== undefined && this.#isHeld(exchange, uses)) return
    const { cluster } = target
    const refusal = cluster.breaker.refusal()
    if (refusal !== undefined) return this.#replies.overflow(exchange, refusal)
    const upstream = pools.get(endpoint, identity, http2, cluster)
    if (pools.isFull(upstream))
      return this.#replies.refuse(exchange, 'OVERFLOW', endpoint.name)

    const spanId = randomHex(8)
    injectTrace(message.headers, trace, spanId)
    if (exchange.attempts++ > 0 && exchange.grpc) this.#announceRetry(exchange)
    const attempt = new Attempt(
      exchange,
      endpoint,
      cluster,
      spanId,
      uses === undefined ? this.#answers : this.#answers.extensions.sink,
      rule.retry.perTryTimeoutMs,
      rule.backendTimeoutMs,
    )
    exchange.attempt = attempt
    exchange.tried.push(endpoint)
    exchange.destination = endpoint.destination
    exchange.race?.enter(attempt)
    attempt.start(upstream, this.#outgoing(exchange, http2))
  }

  /** A retry goes elsewhere, and is no reason to forget where the client belongs. */
  #balance(target: Service, exchange: Exchange): Endpoint | undefined {
    const { connection, session, tried, message } = exchange
    const { destination, source } = connection.origin
    const asked = target.id === connection.service.id
    const ready = target.cluster.usable(readyFor(target, asked, destination))
    if (session !== undefined && tried.length === 0 && ready.includes(session.endpoint))
      return session.endpoint
    if (target.affinityMs === 0 || tried.length > 0)
      return target.cluster.choose(ready, tried, message.headers, source)
    const key = { service: target.id, client: source }
    const { affinity } = this.#parts
    return affinity.choose(ready, key, target.affinityMs, performance.now())
  }

  /** A limit of the service that was asked for; what it answers with costs nothing but this look. */
  #isLimited(exchange: Exchange, rule: Rule): boolean {
    const { service, connection, startedMs } = exchange
    const { limits } = service.cluster
    const waitMs = limits.take(rule.text, connection.client.identity, startedMs)
    if (waitMs > 0) this.#replies.limit(exchange, waitMs)
    return waitMs > 0
  }

  /** HTTP/2 endpoints are not asked for 100 (Continue): their flow control does what it is for. */
  #outgoing({ message, responder, race }: Exchange, http2: boolean): Message {
    // Attempts that run at a time differ in what they say of themselves, and may wait for a connection before they do.
    if (race !== undefined) return { ...message, headers: message.headers.slice() }
    if (!http2 || !message.expectContinue) return message
    responder.informational(100, [])
    return { ...message, expectContinue: false }
  }

  /** gRFC A6: how often it was tried, and what is left of the deadline. */
  #announceRetry({ message, attempts, deadlineMs }: Exchange): void {
    setHeader(message.headers, 'grpc-previous-rpc-attempts', String(attempts - 1))
    if (deadlineMs > 0)
      setHeader(
        message.headers,
        'grpc-timeout',
        formatGrpcTimeout(deadlineMs - performance.now()),
      )
  }

  /** Filters of users see what policy lets through, once; what they make of it is judged again. */
  #isHeld(exchange: Exchange, uses: readonly FilterUse[]): boolean {
    return this.#answers.extensions.holdsRequest(exchange, uses, () => {
      this.#attempt(exchange)
    })
  }

  #redirect(exchange: Exchange, rule: Rule, redirect: RedirectSpec): void {
    const { message, connection } = exchange
    const asked = {
      authority: message.authority,
      path: message.path,
      port: connection.origin.destinationPort,
    }
    const headers = ['location', redirectLocation(redirect, asked, rule.path)]
    const { responseHeaders } = rule.filters
    if (responseHeaders !== undefined) editHeaders(headers, responseHeaders)
    if (exchange.cors !== undefined) editHeaders(headers, exchange.cors)
    this.#replies.answer(exchange, redirect.status, headers, '')
  }

  /** A preflight is answered here (GEP-1767); what is none has its answer edited. */
  #isPreflight(exchange: Exchange, cors: CorsSpec): boolean {
    const headers = preflightAnswer(cors, exchange.message)
    if (headers === undefined) exchange.cors = corsEdit(cors, exchange.message.headers)
    else this.#replies.answer(exchange, 200, headers, '')
    return headers !== undefined
  }
}
