// SPDX-License-Identifier: Apache-2.0
// Everything the proxy itself can answer instead of the service, in one table: HTTP status, gRPC status, the response flag
// that Istio's dashboards know (standards.md 4), and what a reader of the body is told.

/** HTTP status, gRPC status (grpc/grpc doc/statuscodes.md), response flag, message of the body. */
type Outcome = {
  readonly status: number
  readonly grpc: number
  readonly flag: string
  readonly text: string
}

export const outcomes = {
  NO_ROUTE: row(404, 12, 'NR', 'no route of this service matches the request'),
  INVALID_BACKEND: row(
    500,
    14,
    'NC',
    'the route refers to a backend that does not exist',
  ),
  NO_ENDPOINT: row(503, 14, 'UH', 'the service has no ready endpoint'),
  CONNECT_FAILED: row(503, 14, 'UF', 'no connection to the endpoint could be made'),
  UPSTREAM_RESET: row(
    503,
    14,
    'UC',
    'the endpoint closed the connection before it answered',
  ),
  UPSTREAM_PROTOCOL: row(
    502,
    13,
    'UPE',
    'the endpoint did not answer in the declared protocol',
  ),
  OVERFLOW: row(503, 14, 'UO', 'too much is going on at this service'),
  RATE_LIMITED: row(429, 8, 'RL', 'a rate limit of the service is reached'),
  RATE_LIMIT_UNKNOWN: row(
    503,
    14,
    'RLSE',
    'the rate limit service did not say whether a limit is reached',
  ),
  FAULT: row(503, 14, 'FI', 'the service is declared to fail some requests on purpose'),
  FILTER_FAILED: row(500, 13, 'FF', 'a filter of the service failed'),
  RETRY_BUDGET: row(503, 14, 'URX', 'the retry budget of the service is used up'),
  REQUEST_TIMEOUT: row(504, 4, 'UT', 'the request took longer than its timeout'),
  BACKEND_TIMEOUT: row(504, 4, 'UT', 'the endpoint took longer than the backend timeout'),
  POLICY_DENIED: row(
    403,
    7,
    'UAEX',
    'policy does not let this client reach the endpoint',
  ),
  REQUEST_DENIED: row(403, 7, 'UAEX', 'policy does not let this client ask for this'),
  TOKEN_MISSING: row(
    401,
    16,
    'UAEX',
    'policy asks for a token, and the request has none',
  ),
  TOKEN_INVALID: row(401, 16, 'UAEX', 'the token of the request is not valid'),
  PATH_AMBIGUOUS: row(
    400,
    3,
    'DPE',
    'servers read this path in more than one way, and policy is about paths here',
  ),
  METHOD_UNSUPPORTED: row(501, 12, 'DPE', 'CONNECT is not supported'),
  EXPECTATION: row(417, 3, 'DPE', 'only Expect: 100-continue is supported'),
  BAD_REQUEST: row(400, 3, 'DPE', 'the request is not valid in the declared protocol'),
  HEADER_TOO_LARGE: row(431, 8, 'DPE', 'the header of the request is too large'),
  TARGET_TOO_LONG: row(414, 3, 'DPE', 'the target of the request is too long'),
  ENCODING_UNSUPPORTED: row(
    501,
    12,
    'DPE',
    'no Transfer-Encoding but chunked is supported',
  ),
  HEADER_TIMEOUT: row(408, 4, 'DPE', 'the header of the request took too long'),
  CANCELLED: row(499, 1, 'DC', 'the client went away'),
  INTERNAL: row(500, 13, '-', 'the proxy failed; this is a bug'),
} as const satisfies Record<string, Outcome>

export type ProxyErrorCode = keyof typeof outcomes

function row(status: number, grpc: number, flag: string, text: string): Outcome {
  return { status, grpc, flag, text }
}

/** A refusal by the proxy. `detail` says where: an endpoint, a route, a limit. */
export class ProxyError extends Error {
  readonly code: ProxyErrorCode
  readonly detail: string

  constructor(code: ProxyErrorCode, detail = '', options?: ErrorOptions) {
    super(
      `${code}: ${outcomes[code].text}${detail === '' ? '' : ` (${detail})`}`,
      options,
    )
    this.name = 'ProxyError'
    this.code = code
    this.detail = detail
  }

  get status(): number {
    return outcomes[this.code].status
  }

  get grpcStatus(): number {
    return outcomes[this.code].grpc
  }

  get flag(): string {
    return outcomes[this.code].flag
  }
}

/** The errno code ("EPERM") of anything thrown, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : undefined
}
