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
  heldLimit: ['pillion_held_limit_total', 'connections closed because of --max-held'],
  protocolErrors: [
    'pillion_protocol_errors_total',
    'messages that are not valid in the declared protocol, downstream',
  ],
  upstreamProtocolErrors: [
    'pillion_upstream_protocol_errors_total',
    'answers that are not valid in the declared protocol',
  ],
  retries: ['pillion_retries_total', 'attempts after the first'],
  budgetExhausted: [
    'pillion_retry_budget_exhausted_total',
    'retries refused by the budget of a service',
  ],
  replayOverflow: [
    'pillion_replay_overflow_total',
    'requests not retried because their body was longer than --replay-bytes',
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
  connectFailures: [
    'pillion_upstream_connect_failures_total',
    'upstream connections that could not be made',
  ],
  policyDenied: [
    'pillion_policy_denied_total',
    'upstream connections that policy refused',
  ],
  configRefused: [
    'pillion_config_refused_total',
    'configurations that could not be compiled',
  ],
  exceptions: ['pillion_exceptions_total', 'errors that no code expected'],
} as const

export const gaugeDocs = {
  activeRequests: ['pillion_active_requests', 'requests in flight'],
  activeConnections: ['pillion_active_connections', 'downstream connections'],
  heldConnections: [
    'pillion_held_connections',
    'connections that wait for their configuration',
  ],
  affinitySessions: [
    'pillion_affinity_sessions',
    'clients that are remembered with their endpoint (session affinity)',
  ],
  upstreamPools: ['pillion_upstream_pools', 'pools of upstream connections'],
} as const
