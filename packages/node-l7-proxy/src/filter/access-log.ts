// SPDX-License-Identifier: Apache-2.0
// One line a request (Mesh spec.accessLog), and one span an attempt at level debug until there is a collector.
import type { Logger } from 'pino'
import { formatEndpoint } from '@pillion/contract'
import type { Attempt } from '../attempt.ts'
import type { Exchange, Verdict } from '../exchange.ts'

export function logRequest(
  log: Logger,
  exchange: Exchange,
  verdict: Verdict,
  durationMs: number,
): void {
  const { connection, message, rule, attempt } = exchange
  const { origin, client } = connection
  log.info(
    {
      method: message.method,
      authority: message.authority,
      path: message.path,
      status: verdict.status,
      grpcStatus: exchange.grpcStatus,
      flag: verdict.flag,
      detail: verdict.detail === '' ? undefined : verdict.detail,
      why: exchange.why,
      shadow: exchange.shadow,
      durationMs: Math.round(durationMs * 1000) / 1000,
      requestBytes: message.body?.bytes ?? 0,
      responseBytes: exchange.responseBytes,
      attempts: exchange.attempts,
      source: formatEndpoint(origin.source, origin.sourcePort),
      sourceIdentity: client.identity,
      sourceWorkload: client.labels.workload,
      sourceNamespace: client.labels.namespace,
      service: exchange.service.name,
      route: rule?.text,
      endpoint: attempt?.endpoint.name,
      traceId: exchange.trace?.traceId,
    },
    'request',
  )
}

/** The client span of an attempt; names of OpenTelemetry's HTTP conventions. */
export function logSpan(
  log: Logger,
  attempt: Attempt,
  status: number,
  error: string | undefined,
): void {
  const { exchange, endpoint } = attempt
  const { trace, message } = exchange
  if (trace === undefined || !trace.sampled) return
  log.debug(
    {
      span: {
        traceId: trace.traceId,
        spanId: attempt.spanId,
        parentSpanId: trace.parentId === '' ? undefined : trace.parentId,
        kind: 'CLIENT',
        name: message.method,
        durationMs: performance.now() - attempt.startedMs,
        attributes: {
          'http.request.method': message.method,
          'url.path': message.path,
          'server.address': endpoint.host,
          'server.port': endpoint.port,
          'http.response.status_code': status === 0 ? undefined : status,
          'http.request.resend_count':
            exchange.attempts > 1 ? exchange.attempts - 1 : undefined,
          'error.type': error,
        },
      },
    },
    'span',
  )
}
