// SPDX-License-Identifier: Apache-2.0
// PURE: a request and its attempts as spans, by OpenTelemetry's conventions for HTTP (stable) and RPC (1.44: rpc.method is
// "pkg.Service/Method", rpc.status_code a name). A request is a SERVER span; each attempt is a CLIENT span below it.
import type { Attempt } from '../attempt.ts'
import type { Exchange, Verdict } from '../exchange.ts'
import { statusName } from '../grpc/status.ts'
import { getHeader } from '../headers.ts'
import { errorOf, isKnownMethod, isServerError, routeOf } from './conventions.ts'

export type Attributes = Readonly<Record<string, string | number | undefined>>

export type Span = {
  /** Hex. */
  readonly traceId: string
  readonly spanId: string
  /** '': none. */
  readonly parentId: string
  readonly kind: 'SERVER' | 'CLIENT'
  readonly name: string
  /** performance.now(), milliseconds. */
  readonly startMs: number
  readonly endMs: number
  readonly attributes: Attributes
  readonly isError: boolean
}

/** undefined: not sampled. `nowMs` is performance.now(). */
export function requestSpan(
  exchange: Exchange,
  { status, flag }: Verdict,
  nowMs: number,
): Span | undefined {
  const { trace, message, connection, rule } = exchange
  if (trace?.sampled !== true) return undefined
  const { origin, client, http2 } = connection
  const grpc = exchange.grpc ? (exchange.grpcStatus ?? 2) : undefined
  const isError = isServerError(status, grpc)
  const question = message.path.indexOf('?')
  const route = rule === undefined ? undefined : routeOf(rule)
  return {
    ...{ traceId: trace.traceId, spanId: trace.spanId, parentId: trace.parentId },
    ...{ kind: 'SERVER', startMs: exchange.startedMs, endMs: nowMs, isError },
    name: nameOf(exchange, route),
    attributes: {
      ...methodOf(message.method),
      ...rpcOf(exchange, grpc),
      'url.scheme': 'http',
      'url.path': question < 0 ? message.path : message.path.slice(0, question),
      'url.query': question < 0 ? undefined : redacted(message.path.slice(question + 1)),
      'http.route': route,
      'http.response.status_code': status === 0 ? undefined : status,
      'error.type': isError ? errorOf(status, flag, grpc) : undefined,
      'server.address': message.authority.replace(/:\d+$/, ''),
      'server.port': origin.destinationPort,
      'client.address': client.address,
      'network.peer.address': client.address,
      'network.peer.port': origin.sourcePort,
      'network.protocol.name': 'http',
      'network.protocol.version': http2 ? '2' : '1.1',
      'user_agent.original': getHeader(message.headers, 'user-agent'),
      'pillion.service': exchange.service.name,
      'pillion.source.workload': client.labels.workload,
      'pillion.response_flag': flag === '-' ? undefined : flag,
    },
  }
}

/** Instead of an error: another attempt of the same request answered first. */
export const lost = 'lost'

/** With an `error` the status is the proxy's own answer, not the endpoint's. undefined: not sampled. */
export function attemptSpan(
  attempt: Attempt,
  status: number,
  error: string | undefined,
  nowMs: number,
): Span | undefined {
  const { exchange, endpoint, resends } = attempt
  const { trace, message } = exchange
  if (trace?.sampled !== true) return undefined
  const grpc = exchange.grpc && error !== lost ? exchange.grpcStatus : undefined
  // That the client went away, or was served by another, is nobody's error.
  const isError =
    error === undefined
      ? status >= 400 || (grpc !== undefined && grpc !== 0)
      : error !== 'DC' && error !== lost
  const host = endpoint.family === 6 ? `[${endpoint.host}]` : endpoint.host
  return {
    ...{ traceId: trace.traceId, spanId: attempt.spanId, parentId: trace.spanId },
    ...{ kind: 'CLIENT', startMs: attempt.startedMs, endMs: nowMs, isError },
    name: nameOf(exchange, undefined),
    attributes: {
      ...methodOf(message.method),
      ...rpcOf(exchange, grpc),
      'url.full': `http://${host}:${endpoint.port}${redactedPath(message.path)}`,
      'server.address': endpoint.host,
      'server.port': endpoint.port,
      'http.response.status_code': error === undefined ? status : undefined,
      'http.request.resend_count': resends > 0 ? resends : undefined,
      'error.type': isError ? (error ?? errorOf(status, '-', grpc)) : undefined,
      'pillion.destination.workload': endpoint.destination.workload,
      'pillion.hedge': error === lost ? lost : undefined,
    },
  }
}

/** Never the path itself: names are few. */
function nameOf(exchange: Exchange, route: string | undefined): string {
  const { message, grpc } = exchange
  if (grpc) return message.path.slice(1)
  const method = isKnownMethod(message.method) ? message.method : 'HTTP'
  return route === undefined ? method : `${method} ${route}`
}

function methodOf(method: string): Attributes {
  if (isKnownMethod(method)) return { 'http.request.method': method }
  return { 'http.request.method': '_OTHER', 'http.request.method_original': method }
}

function rpcOf({ grpc, message }: Exchange, status: number | undefined): Attributes {
  if (!grpc) return {}
  return {
    'rpc.system.name': 'grpc',
    'rpc.method': message.path.slice(1),
    'rpc.status_code': status === undefined ? undefined : statusName(status),
  }
}

function redactedPath(path: string): string {
  const question = path.indexOf('?')
  return question < 0
    ? path
    : `${path.slice(0, question)}?${redacted(path.slice(question + 1))}`
}

/** Parameters that are as good as a password. */
const secrets =
  /(^|&)(X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|AWSAccessKeyId|Signature|sig|X-Goog-Signature)=[^&]*/gi

function redacted(query: string): string {
  return query.replace(secrets, '$1$2=REDACTED')
}
