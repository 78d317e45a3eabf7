// SPDX-License-Identifier: Apache-2.0
// One line a request (Mesh spec.accessLog), and at level debug its spans.
import type { Logger } from 'pino'
import { formatEndpoint } from '@pillion/contract'
import type { Exchange, Verdict } from '../exchange.ts'
import type { Span } from '../trace/span.ts'

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

/** A span, at level debug: what a collector would get. */
export function logSpan(log: Logger, span: Span): void {
  const { startMs, endMs, ...rest } = span
  log.debug({ span: { ...rest, durationMs: endMs - startMs } }, 'span')
}
