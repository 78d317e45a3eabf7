// SPDX-License-Identifier: Apache-2.0
// HTTP/2 cleartext with prior knowledge (and so gRPC) from clients, on node:http2 fed with accepted sockets.
import {
  constants,
  createServer,
  type Http2Server as NodeHttp2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ProxyError } from '../errors.ts'
import type { Connection, Responder } from '../exchange.ts'
import { toTrailers } from '../grpc/trailers.ts'
import type { Headers } from '../headers.ts'
import { FloodGauge, FloodPatrol, sessionMemoryMb } from '../limit/flood.ts'
import { IdleTimer } from '../limit/idle.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Options } from '../options.ts'
import type { Pipeline } from '../pipeline.ts'
import { closeGracefully } from './http2-goaway.ts'
import { readHttp2 } from './http2-message.ts'
import type { Holder, Holding } from './buffers.ts'
import type { Shares } from './quota.ts'
import { StallTimer } from './stall.ts'
import type { Refusal } from './validity.ts'

const connectionWindowBytes = 1_048_576
const streamWindowBytes = 262_144

/** What the header of a request may take before it counts as a flood. */
const streamBytes = 16_384

type State = { readonly connection: Connection; readonly gauge: FloodGauge }

export class Http2Server {
  readonly #server: NodeHttp2Server
  readonly #pipeline: Pipeline
  readonly #options: Options
  readonly #metrics: Metrics
  readonly #shares: Shares
  readonly #sessions: Map<ServerHttp2Session, State> = new Map()
  readonly #patrol: FloodPatrol
  /** Whose session the next 'session' event is: node makes it while 'connection' is emitted. */
  #accepting: State | undefined

  constructor(pipeline: Pipeline, options: Options, shares: Shares, metrics: Metrics) {
    this.#pipeline = pipeline
    this.#options = options
    this.#shares = shares
    this.#metrics = metrics
    this.#patrol = new FloodPatrol(() => metrics.counters.http2Floods++)
    this.#server = createServer({
      maxHeaderListPairs: options.headerFields,
      maxSessionInvalidFrames: 100,
      maxSessionMemory: sessionMemoryMb,
      // A second Date or Location of an endpoint is its affair, and no reason for an exception here.
      strictSingleValueFields: false,
      settings: {
        maxConcurrentStreams: options.streams,
        maxHeaderListSize: options.headerBytes,
        initialWindowSize: streamWindowBytes,
        enableConnectProtocol: false,
      },
    })
    this.#listen(this.#server)
  }

  accept(socket: Socket, connection: Connection): void {
    const gauge = new FloodGauge(socket, performance.now(), streamBytes)
    this.#accepting = { connection, gauge }
    this.#server.emit('connection', socket)
    this.#accepting = undefined
  }

  /** GOAWAY to everyone; sessions end when their streams have. */
  drain(): void {
    for (const session of this.#sessions.keys()) session.close()
  }

  close(): void {
    for (const session of this.#sessions.keys()) {
      setImmediate(() => {
        session.destroy()
      })
    }
  }

  #listen(server: NodeHttp2Server): void {
    server.on('session', (session) => {
      this.#onSession(session)
    })
    server.on('sessionError', () => {
      this.#metrics.counters.protocolErrors++
    })
    server.on('stream', (stream, _headers, flags, raw: string[]) => {
      this.#onStream(stream, flags, raw)
    })
  }

  #onSession(session: ServerHttp2Session): void {
    const state = this.#accepting
    if (state === undefined) {
      setImmediate(() => {
        session.destroy()
      })
      return
    }
    this.#sessions.set(session, state)
    closeGracefully(session)
    state.gauge.discount(session)
    this.#patrol.watch(state.gauge, () => {
      setImmediate(() => {
        session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)
      })
    })
    session.setLocalWindowSize(connectionWindowBytes)
    const traffic = (): number => state.gauge.traffic
    const idle = new IdleTimer(traffic, this.#options.idleTimeoutMs, () => {
      if (session.closed)
        setImmediate(() => {
          session.destroy()
        })
      else session.close()
    })
    session.on('close', () => {
      this.#sessions.delete(session)
      this.#patrol.forget(state.gauge)
      idle.clear()
    })
    session.on('error', ignore) // counted as sessionError, and 'close' follows
  }

  #onStream(stream: ServerHttp2Stream, flags: number, raw: string[]): void {
    stream.on('error', ignore)
    const { session } = stream
    const state =
      session === undefined
        ? undefined
        : this.#sessions.get(session as ServerHttp2Session)
    if (state === undefined || session === undefined) {
      setImmediate(() => {
        stream.close(constants.NGHTTP2_INTERNAL_ERROR)
      })
      return
    }
    const { connection, gauge } = state
    const ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
    const message = readHttp2(stream, connection, raw, ended, this.#options, this.#shares)
    const body = 'code' in message ? undefined : message.body
    const responder = new Http2Responder(
      stream,
      session as ServerHttp2Session,
      { connection, body, buffers: this.#shares.buffers },
      this.#options.stallTimeoutMs,
      this.#metrics,
    )
    if ('code' in message) {
      this.#metrics.counters.protocolErrors++
      refuse(responder, message)
      return
    }
    const close = gauge.open(message.body)
    const full = this.#shares.enter(connection)
    stream.once('close', () => {
      close()
      if (full === undefined) this.#shares.leave(connection)
    })
    if (full !== undefined) refuse(responder, { code: 'OVERFLOW', detail: full })
    else this.#pipeline.serve(connection, message, responder)
  }
}

class Http2Responder implements Responder, Holder {
  readonly connection: Connection
  readonly #holding: Holding
  readonly #stream: ServerHttp2Stream
  readonly #session: ServerHttp2Session
  readonly #stall: StallTimer
  #trailers: Headers | undefined
  #continued = false
  onDrain: (() => void) | undefined
  onGone: (() => void) | undefined
  onShed: ((share: string) => void) | undefined
  behind: { readonly held: number } | undefined

  constructor(
    stream: ServerHttp2Stream,
    session: ServerHttp2Session,
    holding: Holding,
    stallTimeoutMs: number,
    metrics: Metrics,
  ) {
    this.connection = holding.connection
    this.#holding = holding
    this.#stream = stream
    this.#session = session
    this.#stall = new StallTimer(stallTimeoutMs, () => {
      metrics.counters.stalledAnswers++
      stream.close(constants.NGHTTP2_CANCEL)
    })
    stream.on('aborted', () => {
      // Closed by the peer: node keeps such a stream, and its session, until somebody has read what is left of it.
      setImmediate(() => {
        if (!stream.destroyed) stream.destroy()
      })
    })
    stream.on('close', () => {
      this.#stall.clear()
      holding.buffers.remove(this)
      // Whatever the stream says: when its connection breaks off, node ends it first, as if it had been answered.
      this.onGone?.()
    })
    if (holding.body !== undefined) holding.buffers.add(this)
  }

  get held(): number {
    const behind = (this.#holding.body?.held ?? 0) + (this.behind?.held ?? 0)
    return this.#stream.writableLength + behind
  }

  shed(share: string): void {
    this.onShed?.(share)
  }

  informational(status: number, headers: Headers): void {
    const stream = this.#stream
    if (stream.headersSent || stream.destroyed || (status === 100 && this.#continued))
      return
    if (status === 100) this.#continued = true
    try {
      stream.additionalHeaders({ ':status': status, ...toTrailers(headers) })
    } catch {
      // interim answers are optional to forward (RFC 9110 15.2)
    }
  }

  head(status: number, headers: Headers, ended: boolean, close: boolean): void {
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return
    try {
      stream.respond([':status', String(status), ...headers], {
        endStream: ended,
        waitForTrailers: !ended,
      })
    } catch {
      // What node will not say in HTTP/2 ends one request, not the process.
      this.abort()
      return
    }
    if (!ended) {
      stream.on('wantTrailers', () => {
        if (!stream.destroyed) stream.sendTrailers(toTrailers(this.#trailers))
      })
    }
    if (close) this.#session.close()
  }

  write(chunk: Buffer): boolean {
    const stream = this.#stream
    if (stream.destroyed || stream.write(chunk)) return true
    this.#stall.start()
    this.#holding.buffers.add(this)
    stream.once('drain', () => {
      this.#stall.clear()
      this.behind = undefined
      if (this.#holding.body === undefined) this.#holding.buffers.remove(this)
      const resume = this.onDrain
      this.onDrain = undefined
      resume?.()
    })
    return false
  }

  end(trailers: Headers | undefined): void {
    this.#trailers = trailers
    this.#stream.end()
  }

  abort(): void {
    const stream = this.#stream
    setImmediate(() => {
      if (!stream.destroyed) stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    })
  }

  tunnel(
    _headers: Headers,
    upstream: Duplex,
    _head: Buffer,
    over: (sent: number) => void,
  ): void {
    // Not reached: Upgrade does not exist in HTTP/2, and extended CONNECT is not offered.
    upstream.destroy()
    this.abort()
    over(0)
  }
}

/** An answer to what never became a request of the pipeline's; the rest of its body is not wanted. */
function refuse(responder: Http2Responder, { code, detail }: Refusal): void {
  const error = new ProxyError(code, detail)
  const text = Buffer.from(`${error.message}\n`)
  const headers = ['content-type', 'text/plain; charset=utf-8']
  responder.head(
    error.status,
    [...headers, 'content-length', String(text.length)],
    false,
    false,
  )
  responder.write(text)
  responder.end(undefined)
}

function ignore(): void {
  /* 'close' follows and says what matters */
}
