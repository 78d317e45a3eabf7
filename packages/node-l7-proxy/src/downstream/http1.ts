// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 from clients, on node:http fed with accepted sockets.
import {
  createServer,
  type IncomingMessage,
  type Server,
  ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import { errnoOf, outcomes, ProxyError, type ProxyErrorCode } from '../errors.ts'
import type { Connection, Message } from '../exchange.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Options } from '../options.ts'
import type { Pipeline } from '../pipeline.ts'
import { readHttp1 } from './http1-message.ts'
import { Http1Responder } from './http1-responder.ts'
import { Pace } from './pace.ts'
import type { Shares } from './quota.ts'
import { mayTunnel, type Refusal } from './validity.ts'

/**
 * How often headers that are late are looked for, which takes 0.2 µs a connection. Those that began together are late
 * together: they are refused `refusalsPerTurn` at a time, or 10 000 of them would stop the worker for half a second.
 */
const checkMs = 250
const refusalsPerTurn = 16

/** How long a client that was refused may take to notice. */
const lingerMs = 1000

type Latest = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly responder: Http1Responder
}

/** Of one downstream connection. */
type State = {
  readonly connection: Connection
  /** Requests whose answers are not complete. */
  unanswered: number
  /** The request that was read last. */
  latest: Latest | undefined
  /** What came on it was no HTTP/1.1; nothing more is read. */
  broken: boolean
  onAnswered: (() => void) | undefined
}

export class Http1Server {
  readonly #server: Server
  readonly #pipeline: Pipeline
  readonly #options: Options
  readonly #shares: Shares
  readonly #metrics: Metrics
  readonly #connections: WeakMap<object, State> = new WeakMap()
  readonly #late: Pace = new Pace(refusalsPerTurn)

  constructor(pipeline: Pipeline, options: Options, shares: Shares, metrics: Metrics) {
    this.#pipeline = pipeline
    this.#options = options
    this.#shares = shares
    this.#metrics = metrics
    this.#server = createServer({
      maxHeaderSize: options.headerBytes,
      headersTimeout: options.headerTimeoutMs,
      requestTimeout: 0, // bodies may stream for as long as they like; the route bounds the request
      keepAliveTimeout: options.idleTimeoutMs,
      connectionsCheckingInterval: Math.min(checkMs, options.headerTimeoutMs),
      // Many clients offer h2c to everyone; it is declined by answering in HTTP/1.1.
      shouldUpgradeCallback: (request) => becomesTunnel(request),
    })
    this.#server.timeout = options.idleTimeoutMs
    // Node drops what is beyond without a word, framing fields included: one more, so that it shows.
    this.#server.maxHeadersCount = options.headerFields + 1
    this.#listen(this.#server)
    // The server never listens itself, but its timeouts are armed by this event.
    this.#server.emit('listening')
  }

  /** Takes over an accepted socket. */
  accept(socket: Socket, connection: Connection): void {
    this.#connections.set(socket, {
      ...{ connection, unanswered: 0, latest: undefined, broken: false },
      onAnswered: undefined,
    })
    this.#server.emit('connection', socket)
  }

  /** Ends connections that wait for a request; the others end with their current one. */
  drain(): void {
    this.#server.closeIdleConnections()
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #listen(server: Server): void {
    server.on('request', (request, response) => {
      this.#onRequest(request, response, false)
    })
    server.on('checkContinue', (request, response) => {
      this.#onRequest(request, response, true)
    })
    server.on('checkExpectation', (_request, response: ServerResponse) => {
      const { status, text } = outcomes.EXPECTATION
      response
        .writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
        .end(`EXPECTATION: ${text}\n`)
    })
    server.on('upgrade', (request, socket: Socket, head) => {
      this.#onUpgrade(request, socket, head)
    })
    server.on('connect', (request, socket: Socket) => {
      this.#onUpgrade(request, socket, Buffer.alloc(0))
    })
    server.on('clientError', (error, socket: Socket) => {
      this.#onBroken(error, socket)
    })
  }

  #onRequest(
    request: IncomingMessage,
    response: ServerResponse,
    expectContinue: boolean,
  ): void {
    const state = this.#connections.get(request.socket)
    if (state === undefined) {
      request.socket.destroy()
      return
    }
    // Pipelined behind what was refused: whose beginning this is, nobody knows. The connection is about to end.
    if (state.broken) return
    state.unanswered++
    response.once('close', () => {
      state.unanswered--
      if (state.unanswered === 0) state.onAnswered?.()
    })
    const { connection } = state
    const message = readHttp1(
      request,
      connection,
      this.#options,
      this.#shares,
      expectContinue,
      undefined,
    )
    if ('code' in message) {
      this.#metrics.counters.protocolErrors++
      state.broken = true
      answerError(response, message)
      return
    }
    const full = this.#shares.enter(connection)
    if (full !== undefined) {
      answerError(
        response,
        { code: 'OVERFLOW', detail: full },
        message.body !== undefined,
      )
      return
    }
    response.once('close', () => {
      this.#shares.leave(connection)
    })
    const responder = this.#responder(response, connection, message)
    state.latest = { request, response, responder }
    this.#pipeline.serve(connection, message, responder)
  }

  #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const state = this.#connections.get(socket)
    if (state === undefined) {
      socket.destroy()
      return
    }
    const { connection } = state
    if (state.broken) return
    if (state.unanswered > 0) {
      // The socket still belongs to the answer before: node throws when another takes it.
      state.broken = true
      this.#metrics.counters.protocolErrors++
      const detail = 'CONNECT or Upgrade behind a request without an answer'
      state.onAnswered = () => {
        refuseRaw(socket, { code: 'BAD_REQUEST', detail })
      }
      return
    }
    // Without a tunnel the answer is an ordinary one, and the last of its connection.
    const response = new ServerResponse(request)
    response.assignSocket(socket)
    response.shouldKeepAlive = false
    response.on('finish', () => {
      endSoftly(socket)
    })
    socket.on('error', () => {
      socket.destroy()
    })
    const { upgrade } = request.headers
    const message = readHttp1(
      request,
      connection,
      this.#options,
      this.#shares,
      false,
      upgrade,
    )
    if ('code' in message) {
      this.#metrics.counters.protocolErrors++
      answerError(response, message)
      return
    }
    const full = this.#shares.enter(connection)
    if (full !== undefined) {
      answerError(response, { code: 'OVERFLOW', detail: full })
      return
    }
    // A tunnel takes the socket from the response, which then never closes.
    socket.once('close', () => {
      this.#shares.leave(connection)
    })
    const responder = this.#responder(response, connection, message, head)
    this.#pipeline.serve(connection, message, responder)
  }

  #responder(
    response: ServerResponse,
    connection: Connection,
    { body }: Message,
    head?: Buffer,
  ): Http1Responder {
    const { stallTimeoutMs } = this.#options
    const holding = { connection, body, buffers: this.#shares.buffers }
    return new Http1Responder(response, holding, stallTimeoutMs, this.#metrics, head)
  }

  /** Bytes that are no HTTP/1.1, or too slow. What was asked before them is answered first, or their answer would be taken for it. */
  #onBroken(error: Error, socket: Socket): void {
    const errno = errnoOf(error)
    // Connected early, nothing said yet: a client's pool may do that for as long as it likes.
    if (errno === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0) return
    const state = this.#connections.get(socket)
    if (errno === 'ECONNRESET' || !socket.writable || state === undefined) {
      socket.destroy()
      return
    }
    if (state.broken) return // every further byte is another error
    state.broken = true
    this.#metrics.counters.protocolErrors++
    const refusal: Refusal = {
      code: brokenCodes[errno ?? ''] ?? 'BAD_REQUEST',
      detail: errno ?? '',
    }
    if (errno !== 'ERR_HTTP_REQUEST_TIMEOUT') this.#refuse(refusal, state, socket)
    else this.#late.add(() => this.#refuse(refusal, state, socket))
  }

  #refuse(refusal: Refusal, state: State, socket: Socket): void {
    const { latest } = state
    if (latest !== undefined && !latest.request.complete) {
      latest.responder.onGone?.()
      if (latest.response.headersSent) socket.destroy()
      else answerError(latest.response, refusal)
    } else if (state.unanswered > 0) {
      state.onAnswered = () => {
        refuseRaw(socket, refusal)
      }
    } else refuseRaw(socket, refusal)
  }
}

const brokenCodes: Readonly<Record<string, ProxyErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADER_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'HEADER_TIMEOUT',
}

function becomesTunnel({ headers, httpVersionMinor }: IncomingMessage): boolean {
  const hasBody =
    headers['transfer-encoding'] !== undefined ||
    Number(headers['content-length'] ?? 0) > 0
  return mayTunnel(headers.upgrade) && httpVersionMinor > 0 && !hasBody
}

function textOf({ code, detail }: Refusal): string {
  return `${new ProxyError(code, detail).message}\n`
}

/** Refuses through node, which keeps answers in the order of their requests. */
function answerError(response: ServerResponse, refusal: Refusal, close = true): void {
  if (close) response.shouldKeepAlive = false
  response
    .writeHead(outcomes[refusal.code].status, {
      'content-type': 'text/plain; charset=utf-8',
    })
    .end(textOf(refusal))
}

/** Refuses bytes that never became a request. */
function refuseRaw(socket: Socket, refusal: Refusal): void {
  if (!socket.writable) return
  const { status } = outcomes[refusal.code]
  const body = textOf(refusal)
  socket.write(
    `HTTP/1.1 ${status} ${refusal.code}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
  )
  endSoftly(socket)
}

/** Ends our side and gives the other a moment for its own: closing with bytes unread would take our answer back (RFC 9112 9.6). */
function endSoftly(socket: Socket): void {
  socket.end()
  const timer = setTimeout(() => {
    socket.destroy()
  }, lingerMs)
  socket.once('close', () => {
    clearTimeout(timer)
  })
}
