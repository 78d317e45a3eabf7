// SPDX-License-Identifier: Apache-2.0
// One HTTP/2 connection to an endpoint, as a state machine.
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
} from 'node:http2'
import { FloodGauge, type FloodPatrol } from '../limit/flood.ts'
import { IdleTimer } from '../limit/idle.ts'
import { connectUpstream } from './connector.ts'
import { classify, FloodError } from './failure.ts'
import type { UpstreamSettings } from './pool.ts'
import type { UpstreamFailure } from './upstream.ts'

const connectionWindowBytes = 1_048_576
const streamWindowBytes = 262_144

type State =
  /** No connection yet; calls wait in `#waiting`. */
  | { readonly kind: 'connecting' }
  /** Streams can be opened up to the peer's limit. */
  | { readonly kind: 'ready' }
  /** GOAWAY came, or we are closing: streams end, no new ones. */
  | { readonly kind: 'draining' }
  | { readonly kind: 'closed'; readonly failure: UpstreamFailure }

/** A call that waits for a stream. */
export type Waiting = {
  onReady(session: Http2Session): void
  onFailure(failure: UpstreamFailure): void
}

export class Http2Session {
  readonly #session: ClientHttp2Session | undefined
  readonly #gauge: FloodGauge | undefined
  readonly #label: string
  readonly #onClosed: (session: Http2Session) => void
  #state: State = { kind: 'connecting' }
  #waiting: Waiting[] = []
  #streams = 0
  /** Ever opened. */
  #opened = 0
  readonly #maxRequests: number
  readonly #floods: FloodPatrol
  /** Monotonic; Infinity: it does not age. */
  #agedMs = Infinity

  constructor(settings: UpstreamSettings, onClosed: (session: Http2Session) => void) {
    this.#label = settings.label
    this.#onClosed = onClosed
    this.#maxRequests = settings.maxRequests
    this.#floods = settings.floods
    if (settings.maxAgeMs > 0) this.#agedMs = performance.now() + settings.maxAgeMs
    let socket
    try {
      socket = connectUpstream(settings.datapath, settings.target)
    } catch (error) {
      setImmediate(() => {
        this.#close(classify(error, this.#label))
      })
      return
    }
    const session = connect(`http://${settings.label}`, {
      createConnection: () => socket,
      maxHeaderListPairs: settings.headerFields,
      maxSendHeaderBlockLength: settings.headerBytes,
      settings: {
        enablePush: false,
        initialWindowSize: streamWindowBytes,
        maxHeaderListSize: settings.headerBytes,
      },
    })
    this.#session = session
    this.#gauge = new FloodGauge(socket, performance.now(), settings.headerBytes)
    this.#gauge.discount(session)
    this.#listen(session, settings.idleMs)
    this.#floods.watch(this.#gauge, () => {
      this.#cut(session)
    })
  }

  /** True when a call may be given to this session, now or as soon as it is connected. */
  get usable(): boolean {
    return this.#state.kind === 'connecting' || this.#state.kind === 'ready'
  }

  /** Calls on this session, waiting ones included. */
  get load(): number {
    return this.#streams + this.#waiting.length
  }

  /** The load up to which calls can be given to it: what the peer takes at once, and what is left of its requests. */
  get limit(): number {
    const peers =
      this.#state.kind === 'ready'
        ? (this.#session?.remoteSettings.maxConcurrentStreams ?? 100)
        : 100
    if (this.#maxRequests === 0) return peers
    return Math.min(peers, this.#streams + this.#maxRequests - this.#opened)
  }

  /** True when it is older than the service wants: time to drain. */
  get isAged(): boolean {
    return performance.now() >= this.#agedMs
  }

  /** Calls back at once when connected, otherwise when connected or failed. */
  enter(waiting: Waiting): void {
    switch (this.#state.kind) {
      case 'connecting':
        this.#waiting.push(waiting)
        return
      case 'ready':
        waiting.onReady(this)
        return
      case 'draining':
        waiting.onFailure({ kind: 'refused', detail: `${this.#label}: draining` })
        return
      case 'closed':
        waiting.onFailure(this.#state.failure)
    }
  }

  /** A new stream, or undefined when the session has just become unusable. `answer` counts the bytes of its body. */
  open(
    headers: readonly string[],
    endStream: boolean,
    answer: { readonly bytes: number },
  ): ClientHttp2Stream | undefined {
    const session = this.#session
    if (
      session === undefined ||
      this.#state.kind !== 'ready' ||
      session.closed ||
      session.destroyed
    )
      return undefined
    const stream = session.request(headers, { endStream, waitForTrailers: !endStream })
    this.#streams++
    this.#opened++
    const close = this.#gauge?.open(answer)
    stream.once('close', () => {
      close?.()
      // What was on its way when the stream was given up is nobody's body, and no flood.
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR)
        this.#gauge?.received(streamWindowBytes)
      this.#streams--
      if (this.#streams === 0 && this.#state.kind === 'draining') this.#destroySoon()
    })
    if (this.#opened === this.#maxRequests) this.drain()
    return stream
  }

  /** Ends when its streams have. */
  drain(): void {
    if (this.#state.kind === 'closed' || this.#state.kind === 'draining') return
    const connecting = this.#state.kind === 'connecting'
    this.#state = { kind: 'draining' }
    if (connecting || this.#streams === 0) this.#destroySoon()
  }

  #listen(session: ClientHttp2Session, idleMs: number): void {
    session.on('connect', () => {
      if (this.#state.kind !== 'connecting') return
      this.#state = { kind: 'ready' }
      session.setLocalWindowSize(connectionWindowBytes)
      const waiting = this.#waiting
      this.#waiting = []
      for (const each of waiting) each.onReady(this)
    })
    session.on('goaway', () => {
      this.drain()
    })
    session.on('error', (error) => {
      this.#close(classify(error, this.#label))
    })
    session.on('close', () => {
      this.#close({ kind: 'reset', detail: `${this.#label}: connection closed` })
    })
    const traffic = (): number => this.#gauge?.traffic ?? 0
    const idle = new IdleTimer(traffic, idleMs, () => {
      if (this.#streams === 0) this.drain()
    })
    session.on('close', () => {
      idle.clear()
    })
  }

  /** More came than answers: neither this connection nor what it still carries is worth the work. */
  #cut(session: ClientHttp2Session): void {
    const error = new FloodError()
    this.#close(classify(error, this.#label))
    setImmediate(() => {
      session.destroy(error, constants.NGHTTP2_ENHANCE_YOUR_CALM)
    })
  }

  /** Deferred: node aborts when a session ends inside one of its own callbacks (reliability.md 0.1). */
  #destroySoon(): void {
    const session = this.#session
    setImmediate(() => {
      session?.destroy(undefined, constants.NGHTTP2_NO_ERROR)
    })
  }

  #close(failure: UpstreamFailure): void {
    if (this.#state.kind === 'closed') return
    // Whatever ended a connection that never was: the waiting calls saw no connection.
    const notConnected = this.#state.kind === 'connecting' && failure.kind === 'reset'
    const seen: UpstreamFailure = notConnected ? { ...failure, kind: 'connect' } : failure
    this.#state = { kind: 'closed', failure: seen }
    if (this.#gauge !== undefined) this.#floods.forget(this.#gauge)
    this.#onClosed(this)
    const waiting = this.#waiting
    this.#waiting = []
    for (const each of waiting) each.onFailure(seen)
  }
}
