// SPDX-License-Identifier: Apache-2.0
// The compiled form of a RouteTable: what the request path reads. Immutable; a new configuration is a new table.
import type { L7Protocol } from '@pillion/contract'
import type { Headers } from '../headers.ts'
import type { RouteIndex } from './route-index.ts'
import type { Pattern } from './pattern.ts'

/** What a rule is matched against. */
export type RouteRequest = {
  readonly method: string
  /** Path and query, as sent. */
  readonly path: string
  readonly authority: string
  readonly headers: Headers
}

/** set replaces, add appends to the list of values, remove deletes; names in lower case (HTTPHeaderFilter). */
export type HeaderEdit = {
  readonly set: readonly (readonly [name: string, value: string])[]
  readonly add: readonly (readonly [name: string, value: string])[]
  readonly remove: readonly string[]
}

export type PathEdit =
  | { readonly kind: 'full'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string }

export type RedirectSpec = {
  readonly scheme: string | undefined
  readonly hostname: string | undefined
  readonly port: number | undefined
  readonly path: PathEdit | undefined
  readonly status: number
}

export type RewriteSpec = {
  readonly hostname: string | undefined
  readonly path: PathEdit | undefined
}

/** GEP-1767. */
export type CorsSpec = {
  readonly allowsOrigin: (origin: string) => boolean
  /** As they are written, for people. */
  readonly origins: readonly string[]
  readonly credentials: boolean
  /** undefined: what the preflight asks for. */
  readonly methods: string | undefined
  readonly headers: string | undefined
  /** '': none. */
  readonly expose: string
  readonly maxAgeSeconds: number
}

export type MirrorSpec = {
  readonly backend: BackendRef
  /** Of the requests, 0 to 1. */
  readonly share: number
}

/** At most one of each kind but mirrors, as Gateway API demands. */
export type FilterSet = {
  readonly requestHeaders: HeaderEdit | undefined
  readonly responseHeaders: HeaderEdit | undefined
  readonly redirect: RedirectSpec | undefined
  readonly rewrite: RewriteSpec | undefined
  readonly cors: CorsSpec | undefined
  readonly mirrors: readonly MirrorSpec[]
}

export type PathMatch =
  | { readonly kind: 'any' }
  | { readonly kind: 'exact'; readonly value: string }
  /** Without the trailing slash; '' is any path. */
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly pattern: Pattern }

/** What a header or a query parameter must be: this text, or what the pattern is about. */
export type NamedValue = {
  readonly name: string
  readonly value: string
  readonly pattern: Pattern | undefined
}

export type BackendRef = {
  /** Name of the ServicePort; undefined: the reference is invalid, its share is answered with 500. */
  readonly servicePort: string | undefined
  readonly serviceId: number
  /** Sum of the weights up to and with this one. */
  readonly cumulativeWeight: number
  readonly filters: FilterSet
  /** For a ServicePort that is not declared; UNSPECIFIED: as the client spoke. */
  readonly protocol: L7Protocol
}

/** GEP-1619. Times of 0 are none. */
export type SessionRule = {
  readonly name: string
  readonly kind: 'cookie' | 'header'
  readonly permanent: boolean
  readonly absoluteSeconds: number
  readonly idleSeconds: number
}

/** GEP-1731. `attempts` are retries in addition to the first try. */
export type RetryRule = {
  readonly attempts: number
  readonly codes: ReadonlySet<number>
  readonly grpcCodes: ReadonlySet<number>
  readonly backoffMs: number
  /** 0: none. */
  readonly perTryTimeoutMs: number
  /** The route said so itself; false: the proxy's default, which repeats only what provably was not processed. */
  readonly declared: boolean
}

/** gRFC A6. `maxAttempts` counts the first. */
export type HedgeRule = {
  readonly maxAttempts: number
  readonly delayMs: number
  /** Answers that another attempt may better. */
  readonly codes: ReadonlySet<number>
  readonly grpcCodes: ReadonlySet<number>
}

export type Rule = {
  readonly text: string
  readonly routeKind: string
  readonly routeNamespace: string
  readonly routeName: string
  readonly path: PathMatch
  /** '': any. */
  readonly method: string
  readonly headers: readonly NamedValue[]
  readonly query: readonly NamedValue[]
  readonly filters: FilterSet
  readonly backends: readonly BackendRef[]
  readonly totalWeight: number
  /** 0: none. */
  readonly requestTimeoutMs: number
  readonly backendTimeoutMs: number
  readonly retry: RetryRule
  /** Only where nobody declared retries. */
  readonly hedge: HedgeRule | undefined
  readonly session: SessionRule | undefined
}

/** GEP-3388. */
export type BudgetRule = {
  readonly percent: number
  readonly intervalMs: number
  readonly minRetries: number
  readonly minIntervalMs: number
}

export type Table = {
  readonly serviceId: number
  /** Rules for everybody (producer routes), in order of precedence. */
  readonly producer: readonly Rule[]
  /** By namespace of the client: these replace the producer's (GEP-1294). */
  readonly consumer: ReadonlyMap<string, readonly Rule[]>
  /** Of the lists that are long enough for one. */
  readonly indexes: ReadonlyMap<readonly Rule[], RouteIndex>
  readonly budget: BudgetRule
}
