// SPDX-License-Identifier: Apache-2.0
// What is told of a request when it is over, and of each attempt: metrics, spans, the access line. One event, all of them.
import type { Logger } from 'pino'
import type { Attempt } from './attempt.ts'
import type { Config } from './config/config.ts'
import type { Exchange, Verdict } from './exchange.ts'
import { logRequest, logSpan } from './filter/access-log.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { SpanExporter } from './trace/exporter.ts'
import { attemptSpan, requestSpan, type Span } from './trace/span.ts'

export class Telemetry {
  readonly #metrics: Metrics
  readonly #exporter: SpanExporter
  readonly #log: Logger
  /** Attempts that were told of: a client may go away between an attempt and the next. */
  readonly #told: WeakSet<Attempt> = new WeakSet()

  constructor(metrics: Metrics, exporter: SpanExporter, log: Logger) {
    this.#metrics = metrics
    this.#exporter = exporter
    this.#log = log
  }

  /** An attempt is over. `status` 0: without an answer, and `error` says how. */
  attempt(attempt: Attempt, status: number, error: string | undefined): void {
    const { exchange } = attempt
    if (!this.#wants(exchange) || this.#told.has(attempt)) return
    this.#told.add(attempt)
    this.#span(attemptSpan(attempt, status, error, performance.now()))
  }

  /** A request is over. */
  request(exchange: Exchange, verdict: Verdict, config: Config): void {
    const { flag, status } = verdict
    const nowMs = performance.now()
    const durationMs = nowMs - exchange.startedMs
    const grpcStatus = exchange.grpc ? (exchange.grpcStatus ?? 2) : undefined
    this.#metrics.observe({
      source: exchange.connection.client.labels,
      destination: exchange.destination,
      ...{ status, grpcStatus, flag, durationMs },
      requestBytes: exchange.message.body?.bytes ?? 0,
      responseBytes: exchange.responseBytes,
      requestMessages: exchange.requestMessages?.count ?? 0,
      responseMessages: exchange.responseMessages?.count ?? 0,
    })
    this.#metrics.routes.observe({
      parent: exchange.service.name,
      rule: exchange.rule,
      backend: exchange.backend?.servicePort,
      ...{ status, grpcStatus, flag, durationMs },
    })
    if (config.otelMetrics)
      this.#metrics.otel.observe({
        service: exchange.service.destination,
        method: exchange.message.method,
        path: exchange.message.path,
        rule: exchange.rule,
        http2: exchange.connection.http2,
        answered: flag === '-' && exchange.grpcStatus !== undefined,
        ...{ status, grpcStatus, flag, durationMs },
      })
    if (this.#wants(exchange)) {
      if (exchange.attempt !== undefined)
        this.attempt(exchange.attempt, status, flag === '-' ? undefined : flag)
      this.#span(requestSpan(exchange, verdict, nowMs))
    }
    if (config.accessLog && isWritten(exchange, flag, config.accessLogSample))
      logRequest(this.#log, exchange, verdict, durationMs)
  }

  #wants({ trace }: Exchange): boolean {
    return (
      trace?.sampled === true &&
      (this.#exporter.isOn || this.#log.isLevelEnabled('debug'))
    )
  }

  #span(span: Span | undefined): void {
    if (span === undefined) return
    this.#exporter.add(span)
    if (this.#log.isLevelEnabled('debug')) logSpan(this.#log, span)
  }
}

/** By the trace, so that all proxies of a request write it or none; what went wrong here is always written. */
function isWritten({ trace }: Exchange, flag: string, sample: number): boolean {
  if (flag !== '-' || sample >= 1 || trace === undefined) return true
  return Number.parseInt(trace.traceId.slice(-8), 16) / 2 ** 32 < sample
}
