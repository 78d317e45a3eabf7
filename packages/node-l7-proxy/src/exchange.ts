// SPDX-License-Identifier: Apache-2.0
// One request and its answer, as both codecs see it and as it goes down the pipeline.
import type { Duplex } from 'node:stream'
import type { Attempt } from './attempt.ts'
import type { Verdict as TokenVerdict } from './authorize/verifier.ts'
import type { RequestBody } from './body.ts'
import type { CircuitBreaker } from './cluster/breaker.ts'
import type { Endpoint } from './cluster/endpoint.ts'
import type { Client } from './config/clients.ts'
import type { Service } from './config/config.ts'
import type { Session } from './filter/session.ts'
import type { TraceContext } from './filter/trace.ts'
import { MessageCounter } from './grpc/messages.ts'
import type { Headers } from './headers.ts'
import type { LimitCall } from './limit/call.ts'
import type { DestinationLabels } from './metrics/labels.ts'
import type { Origin } from './origin.ts'
import type { Race } from './race.ts'
import type { BackendRef, HeaderEdit, Rule } from './route/table.ts'

/** An accepted connection: whose it is and what it asked for. */
export type Connection = {
  readonly origin: Origin
  readonly client: Client
  /** As it was when the connection was accepted; requests look for the newest. */
  readonly service: Service
  /** Framing of this connection, for its whole life. */
  readonly http2: boolean
}

/** A request as it came, headers in lower case and without Host and pseudo fields. */
export type Message = {
  readonly method: string
  /** Path and query. Rewrites change it. */
  path: string
  authority: string
  readonly headers: Headers
  readonly body: RequestBody | undefined
  readonly upgrade: string | undefined
  readonly expectContinue: boolean
}

/** The downstream side of an exchange. */
export type Responder = {
  /** 1xx; 100 at most once. */
  informational(status: number, headers: Headers): void
  /** `close`: the connection should not be used again. */
  head(status: number, headers: Headers, ended: boolean, close: boolean): void
  /** False: wait for onDrain. */
  write(chunk: Buffer): boolean
  end(trailers: Headers | undefined): void
  /** Cuts the answer off, so that the client sees that it is not complete. */
  abort(): void
  /** 101: the connection becomes a tunnel; `over` is called when it has ended. */
  tunnel(
    headers: Headers,
    upstream: Duplex,
    head: Buffer,
    over: (sent: number) => void,
  ): void
  onDrain: (() => void) | undefined
  /** What waits because of this answer: an attempt that was paused. */
  behind: { readonly held: number } | undefined
  /** The client went away before the end. */
  onGone: (() => void) | undefined
  /** It holds too many bytes (downstream/buffers.ts). */
  onShed: ((share: string) => void) | undefined
}

/** What an exchange turned out to be, for telemetry. */
export type Verdict = {
  readonly status: number
  readonly flag: string
  readonly detail: string
}

/** State of a request on its way. The pipeline owns it. */
export class Exchange {
  readonly connection: Connection
  readonly message: Message
  readonly responder: Responder
  readonly service: Service
  readonly grpc: boolean
  readonly startedMs: number = performance.now()
  trace: TraceContext | undefined
  rule: Rule | undefined
  backend: BackendRef | undefined
  /** That the client has sent and that is in force (GEP-1619). */
  session: Session | undefined
  /** Where the rule sends it; refreshed before every attempt. */
  target: Service | undefined
  /** Who may read the answer (GEP-1767), also one of the proxy's own. */
  cors: HeaderEdit | undefined
  /** What the route makes of a backend's answer. */
  responseEdits: HeaderEdit[] = []
  /** The last one; after a race the one that won. */
  attempt: Attempt | undefined
  /** The call to a rate limit service that it waits for. */
  asking: LimitCall | undefined
  /** How many went out. */
  attempts = 0
  /** Of a hedged request; undefined: one attempt at a time. */
  race: Race | undefined
  /** Attempts that backoff does not count: it begins anew after a pushback (gRFC A6). */
  backoffFrom = 0
  /** Counts it as one that is tried again, from the first retry to its end. */
  retriedAt: CircuitBreaker | undefined
  tried: Endpoint[] = []
  requestTimer: NodeJS.Timeout | undefined
  /** Until the next attempt goes out. */
  retryTimer: NodeJS.Timeout | undefined
  /** Absolute, performance.now() based; 0: none. */
  deadlineMs = 0
  headSent = false
  done = false
  status = 0
  grpcStatus: number | undefined
  /** What refused the request, for the access log only: a client is not told how policy is made. */
  why: string | undefined
  /** What policies in Shadow mode would have decided otherwise by. */
  shadow: string | undefined
  /** WWW-Authenticate of a 401 (RFC 6750). */
  challenge: string | undefined
  /** Of a token that was verified, for those providers: filters may make the request carry another one, or none. */
  verdict:
    | {
        readonly providers: unknown
        readonly bearer: string
        readonly verdict: TokenVerdict
      }
    | undefined
  responseBytes = 0
  /** Of gRPC calls only. */
  readonly requestMessages: MessageCounter | undefined
  readonly responseMessages: MessageCounter | undefined
  destination: DestinationLabels

  constructor(
    connection: Connection,
    message: Message,
    responder: Responder,
    service: Service,
    grpc: boolean,
  ) {
    this.connection = connection
    this.message = message
    this.responder = responder
    this.service = service
    this.grpc = grpc
    if (grpc) {
      this.requestMessages = new MessageCounter()
      this.responseMessages = new MessageCounter()
      message.body?.tap(this.requestMessages)
    }
    this.destination = service.destination
  }
}
