// SPDX-License-Identifier: Apache-2.0
// Names and meaning of the proxy's own metrics.

/** Counters and gauges without a label, read and written as plain fields. */
export const counterDocs = {
  noOriginConnections: [
    'pillion_no_origin_connections_total',
    'connections closed because the kernel did not redirect them',
  ],
  unknownServiceConnections: [
    'pillion_unknown_service_connections_total',
    'connections closed because their service never came',
  ],
  connectionLimit: [
    'pillion_connection_limit_total',
    'connections closed because of --max-connections',
  ],
  identityConnectionLimit: [
    'pillion_identity_connection_limit_total',
    'connections closed because of --max-identity-connections',
  ],
  requestLimit: [
    'pillion_request_limit_total',
    'requests refused because of --max-requests',
  ],
  identityRequestLimit: [
    'pillion_identity_request_limit_total',
    'requests refused because of --max-identity-requests',
  ],
  serviceRequestLimit: [
    'pillion_service_request_limit_total',
    'requests refused because of --max-service-requests',
  ],
  replayBytesLimit: [
    'pillion_replay_bytes_limit_total',
    'request bodies not kept for another attempt because of --max-identity-replay',
  ],
  bufferedLimit: [
    'pillion_buffered_limit_total',
    'exchanges cut off because of --max-buffered',
  ],
  identityBufferedLimit: [
    'pillion_identity_buffered_limit_total',
    'exchanges cut off because of --max-identity-buffered',
  ],
  serviceBufferedLimit: [
    'pillion_service_buffered_limit_total',
    'exchanges cut off because of --max-service-buffered',
  ],
  stalledAnswers: [
    'pillion_stalled_answers_total',
    'answers cut off because the client left them unread for --stall-timeout',
  ],
  http2Floods: [
    'pillion_http2_floods_total',
    'HTTP/2 connections cut off for frames that carry no request',
  ],
  upstreamFloods: [
    'pillion_upstream_floods_total',
    'connections to endpoints cut off for bytes that carry no answer',
  ],
  heldLimit: ['pillion_held_limit_total', 'connections closed because of --max-held'],
  protocolErrors: [
    'pillion_protocol_errors_total',
    'messages that are not valid in the declared protocol, downstream',
  ],
  upstreamProtocolErrors: [
    'pillion_upstream_protocol_errors_total',
    'answers that are not valid in the declared protocol',
  ],
  retries: ['pillion_retries_total', 'attempts after the first, without hedges'],
  hedges: ['pillion_hedges_total', 'attempts sent before an earlier one was final'],
  hedgesWon: [
    'pillion_hedges_won_total',
    'answers to hedged requests that did not come from the first attempt',
  ],
  replayOverflow: [
    'pillion_replay_overflow_total',
    'requests not retried or hedged because their body was longer than --replay-bytes',
  ],
  pendingOverflow: [
    'pillion_pending_overflow_total',
    'requests refused because of --max-pending',
  ],
  affinityForgotten: [
    'pillion_affinity_forgotten_total',
    'clients whose endpoint was forgotten because of --max-affinity',
  ],
  mirrored: ['pillion_mirrored_total', 'copies of requests that were answered'],
  mirrorsDropped: [
    'pillion_mirrors_dropped_total',
    'copies of requests given up: too many at once, too long a body, no endpoint, no answer',
  ],
  ejectionLinesDropped: [
    'pillion_ejection_lines_dropped_total',
    'lines about ejections that were not written because there were too many',
  ],
  limitCallsOverflow: [
    'pillion_rate_limit_calls_overflow_total',
    'requests about which no rate limit service was asked because of --max-limit-calls',
  ],
  limitKeysForgotten: [
    'pillion_rate_limit_forgotten_total',
    'buckets of rate limits forgotten because of --max-limit-keys',
  ],
  retriesThrottled: [
    'pillion_retries_throttled_total',
    'retries and hedges of gRPC calls not made because most calls fail',
  ],
  faultsDelayed: ['pillion_faults_delayed_total', 'requests delayed on purpose'],
  faultsAborted: [
    'pillion_faults_aborted_total',
    'requests answered with an error on purpose',
  ],
  connectFailures: [
    'pillion_upstream_connect_failures_total',
    'upstream connections that could not be made',
  ],
  policyDenied: [
    'pillion_policy_denied_total',
    'upstream connections that policy refused',
  ],
  requestsAllowed: [
    'pillion_requests_allowed_total',
    'requests to endpoints with rules for requests that policy allowed',
  ],
  requestsDenied: [
    'pillion_requests_denied_total',
    'requests that policy refused, for a missing or invalid token as well',
  ],
  shadowDenied: [
    'pillion_requests_shadow_denied_total',
    'requests that policies in Shadow mode would refuse',
  ],
  shadowAllowed: [
    'pillion_requests_shadow_allowed_total',
    'refused requests that policies in Shadow mode would allow',
  ],
  spansExported: ['pillion_spans_exported_total', 'spans that the collector took'],
  spansDropped: [
    'pillion_spans_dropped_total',
    'spans that did not fit the queue, or that the collector did not take in five tries',
  ],
  spanExportFailures: [
    'pillion_span_export_failures_total',
    'tries to hand spans to the collector that failed',
  ],
  configRefused: [
    'pillion_config_refused_total',
    'configurations that could not be compiled',
  ],
  exceptions: ['pillion_exceptions_total', 'errors that no code expected'],
} as const

/** Counters by service: that of the limit. */
export const serviceDocs = {
  rateLimited: [
    'pillion_rate_limited_total',
    'requests refused by a rate limit of the service',
  ],
  limitCalls: [
    'pillion_rate_limit_calls_total',
    'questions to the rate limit service by requests to the service; outcome: ok, over_limit, timeout, error, cancelled, not_asked',
  ],
  breakerRequests: [
    'pillion_circuit_breaker_requests_total',
    'requests refused because maxRequests or maxPendingRequests of the service was reached',
  ],
  breakerConnections: [
    'pillion_circuit_breaker_connections_total',
    'requests refused because maxConnections of the service was reached',
  ],
  breakerRetries: [
    'pillion_circuit_breaker_retries_total',
    'retries not made because maxRetries of the service was reached',
  ],
  budgetExhausted: [
    'pillion_retry_budget_exhausted_total',
    'retries refused by the budget of the service',
  ],
  ejectionsConsecutive: [
    'pillion_ejections_consecutive_total',
    'endpoints of the service ejected for failures in a row',
  ],
  ejectionsSuccessRate: [
    'pillion_ejections_success_rate_total',
    'endpoints of the service ejected for failing more often than the others',
  ],
  ejectionPanics: [
    'pillion_ejection_panics_total',
    'times that ejections began to be ignored because too few endpoints were left',
  ],
} as const

export const gaugeDocs = {
  activeRequests: ['pillion_active_requests', 'requests in flight'],
  activeConnections: ['pillion_active_connections', 'downstream connections'],
  bufferedBytes: [
    'pillion_buffered_bytes',
    'bytes that wait for a slow client or endpoint',
  ],
  heldConnections: [
    'pillion_held_connections',
    'connections that wait for their configuration',
  ],
  affinitySessions: [
    'pillion_affinity_sessions',
    'clients that are remembered with their endpoint (session affinity)',
  ],
  verifyingTokens: [
    'pillion_tokens_verifying',
    'requests that wait for the verification of their token',
  ],
  limitCalls: [
    'pillion_rate_limit_calls_active',
    'calls to rate limit services on their way',
  ],
  spansQueued: ['pillion_spans_queued', 'spans that wait for the collector'],
  upstreamPools: ['pillion_upstream_pools', 'pools of upstream connections'],
} as const
