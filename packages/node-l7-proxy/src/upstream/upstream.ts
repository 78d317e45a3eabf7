// SPDX-License-Identifier: Apache-2.0
// One face for every way to an endpoint: what an attempt asks, what it hears, what it can do meanwhile.
import type { Duplex } from 'node:stream'
import type { RequestBody } from '../body.ts'
import type { Headers } from '../headers.ts'

export type UpstreamRequest = {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly authority: string
  /** Without Host, hop-by-hop and pseudo fields. */
  readonly headers: Headers
  readonly body: RequestBody | undefined
  /** Protocol of an Upgrade, HTTP/1.1 only. */
  readonly upgrade: string | undefined
  /** The client waits for 100 (Continue). */
  readonly expectContinue: boolean
}

/** Why an attempt has no (more) answer. */
export type UpstreamFailure = {
  /**
   * connect: no connection was made; denied: policy refused it; refused: the endpoint says that it did not process the
   * request (REFUSED_STREAM, GOAWAY); reset: the connection ended, the request may have been processed; protocol: the
   * answer is not valid; overflow: a limit of ours.
   */
  readonly kind: 'connect' | 'denied' | 'refused' | 'reset' | 'protocol' | 'overflow'
  readonly detail: string
  readonly cause?: unknown
}

/** What an attempt hears, in this order; after onEnd or onFailure nothing more. */
export type UpstreamEvents = {
  /** It has a connection, and waits no longer. May come before start() has returned. */
  onConnection(): void
  /** 1xx other than 101. */
  onInformational(status: number, headers: Headers): void
  /** `headers` are the callee's to change. `ended`: no body and no trailers follow. */
  onHead(status: number, headers: Headers, ended: boolean): void
  onData(chunk: Buffer): void
  onEnd(trailers: Headers | undefined): void
  onFailure(failure: UpstreamFailure): void
  /** 101: the connection is now a tunnel, and the callee's. */
  onTunnel(headers: Headers, socket: Duplex, head: Buffer): void
}

/** A running attempt. */
export type UpstreamCall = {
  /** Bytes of the answer that were read ahead of a pause; what a paused HTTP/1.1 parser has of one read not among them. */
  readonly held: number
  pause(): void
  resume(): void
  /** Gives up; no event follows. */
  cancel(): void
}

/** The connections to one endpoint for one source identity. */
export type Upstream = {
  /** Calls that have not ended. */
  readonly active: number
  readonly lastUsedMs: number
  start(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall
  /** No new calls; connections end when their calls have. */
  close(): void
}
