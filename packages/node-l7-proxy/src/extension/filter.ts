// SPDX-License-Identifier: Apache-2.0
// What a filter of your own is: the types that docs/l7-filters.md explains. Nothing here exists at run time, and nothing is imported,
// so this file can be copied beside a filter to check its types.

/**
 * A filter: `export default { onRequest(request, context) { … } } satisfies Filter`. Both functions are optional, and may be async.
 * What one throws, or rejects with, counts as a failure of the filter for this request.
 */
export type Filter<Config = unknown> = {
  /**
   * Once a request, however often it is tried: after the route was found, its own filters were applied and policy has
   * let the request through. What is returned is the answer, and the request goes no further.
   */
  onRequest?(
    request: FilterRequest,
    context: FilterContext<Config>,
  ): Answer | undefined | void | Promise<Answer | undefined | void>
  /**
   * Once a request that an endpoint has answered, before the route's own filters: not for answers of the proxy itself,
   * of filters, interim ones (1xx) or upgrades.
   */
  onResponse?(
    response: FilterResponse,
    context: FilterContext<Config>,
  ): void | Promise<void>
}

export type FilterRequest = RequestLine & {
  readonly headers: FilterHeaders
}

export type FilterResponse = {
  /** Of gRPC calls it is 200 as a rule: their outcome is in trailers, which filters do not see. */
  readonly status: number
  readonly headers: FilterHeaders
  /** What is answered, as the endpoint was asked. */
  readonly request: RequestLine
}

export type RequestLine = {
  readonly method: string
  /** Path and query, after rewrites. */
  readonly path: string
  /** Host, with a port if the client wrote one; after rewrites. */
  readonly authority: string
}

/**
 * Header fields of a message, names in lower case. Changes are made when the function has ended without a failure. Those of framing
 * and routing cannot be changed: pseudo fields (":path"), hop-by-hop fields (RFC 9110 7.6.1), Content-Length, Expect, Host, Trailer;
 * nor those whose word is the mesh's: X-Forwarded-For, X-Envoy-*, X-Pillion-*. A TypeError says what is wrong.
 */
export type FilterHeaders = Iterable<readonly [name: string, value: string]> & {
  /** The first value. */
  get(name: string): string | undefined
  /** Every value, in order. */
  getAll(name: string): string[]
  has(name: string): boolean
  /** One value instead of all that are there. */
  set(name: string, value: string): void
  /** One more field. */
  append(name: string, value: string): void
  remove(name: string): void
}

/** An answer of the filter's own. */
export type Answer = {
  /** 200 to 599. A gRPC call is answered with `grpcStatus` instead. */
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** At most 64 KiB; of a gRPC call the message of the status. */
  readonly body?: string
  /** 0 to 16; absent: what the gRPC documents make of the HTTP status. */
  readonly grpcStatus?: number
}

export type FilterContext<Config = unknown> = {
  /** `config` of the L7Service's entry; frozen. Nobody has checked it. */
  readonly config: Config
  /** Who asks: the kernel's word, not the client's. Texts are '' when unknown. */
  readonly source: {
    readonly namespace: string
    readonly serviceAccount: string
    readonly workload: string
    readonly address: string
  }
  /** The Service that was asked for. */
  readonly service: {
    readonly namespace: string
    readonly name: string
    readonly port: number
  }
  /** The rule that the request takes; of a service without routes all texts but `rule` are ''. */
  readonly route: {
    readonly kind: string
    readonly namespace: string
    readonly name: string
    /** As in the access log. */
    readonly rule: string
  }
  readonly requestId: string
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** Into the proxy's log: ten lines a second of at most 1000 characters; how many did not fit is said. */
  readonly log: {
    info(text: string): void
    warn(text: string): void
    error(text: string): void
  }
  /**
   * Content of a file in the proxy's --filter-secrets-dir, read again after five seconds. Throws when there is none, or when
   * `name` is not the plain name of a file.
   */
  secret(name: string): Uint8Array
}
