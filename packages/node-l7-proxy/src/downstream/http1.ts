// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 from clients, on node:http fed with accepted sockets.
import {
  createServer,
  type IncomingMessage,
  type Server,
  ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import { RequestBody } from '../body.ts'
import { errnoOf, outcomes, type ProxyErrorCode } from '../errors.ts'
import type { Connection, Message } from '../exchange.ts'
import { fromRaw } from '../headers.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Options } from '../options.ts'
import type { Pipeline } from '../pipeline.ts'
import { Http1Responder } from './http1-responder.ts'

export class Http1Server {
  readonly #server: Server
  readonly #pipeline: Pipeline
  readonly #options: Options
  readonly #metrics: Metrics
  readonly #connections: WeakMap<object, Connection> = new WeakMap()

  constructor(pipeline: Pipeline, options: Options, metrics: Metrics) {
    this.#pipeline = pipeline
    this.#options = options
    this.#metrics = metrics
    this.#server = createServer({
      maxHeaderSize: options.headerBytes,
      headersTimeout: options.headerTimeoutMs,
      requestTimeout: 0, // bodies may stream for as long as they like; the route bounds the request
      keepAliveTimeout: options.idleTimeoutMs,
      connectionsCheckingInterval: Math.min(5000, options.headerTimeoutMs),
      // Many clients offer h2c to everyone; it is declined by answering in HTTP/1.1 (RFC 9110 7.8).
      shouldUpgradeCallback: (request) => !/^h2c\b/i.test(request.headers.upgrade ?? ''),
    })
    this.#server.timeout = options.idleTimeoutMs
    this.#listen(this.#server)
    // The server never listens itself, but its timeouts are armed by this event.
    this.#server.emit('listening')
  }

  /** Takes over an accepted socket. */
  accept(socket: Socket, connection: Connection): void {
    this.#connections.set(socket, connection)
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
    const connection = this.#connections.get(request.socket)
    const message =
      connection &&
      readMessage(
        request,
        connection,
        this.#options.replayBytes,
        expectContinue,
        undefined,
      )
    if (connection === undefined || message === undefined) {
      this.#metrics.counters.protocolErrors++
      const { status, text } = outcomes.BAD_REQUEST
      response.shouldKeepAlive = false
      response
        .writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
        .end(`BAD_REQUEST: ${text}\n`)
      return
    }
    this.#pipeline.serve(connection, message, new Http1Responder(response))
  }

  #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const connection = this.#connections.get(socket)
    const message =
      connection && readMessage(request, connection, 0, false, request.headers.upgrade)
    if (connection === undefined || message === undefined) {
      socket.destroy()
      return
    }
    // Without a tunnel the answer is an ordinary one, and the last of its connection.
    const response = new ServerResponse(request)
    response.assignSocket(socket)
    response.shouldKeepAlive = false
    response.on('finish', () => {
      socket.end()
    })
    socket.on('error', () => {
      socket.destroy()
    })
    this.#pipeline.serve(connection, message, new Http1Responder(response, head))
  }

  #onBroken(error: Error, socket: Socket): void {
    const errno = errnoOf(error)
    // Connected early, nothing said yet: a client's pool may do that for as long as it likes.
    if (errno === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0) return
    if (errno === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    this.#metrics.counters.protocolErrors++
    const code: ProxyErrorCode =
      errno === 'HPE_HEADER_OVERFLOW'
        ? 'HEADER_TOO_LARGE'
        : errno === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? 'HEADER_TIMEOUT'
          : 'BAD_REQUEST'
    const { status, text } = outcomes[code]
    const body = `${code}: ${text}\n`
    socket.end(
      `HTTP/1.1 ${status} ${code}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    )
  }
}

/** Undefined: the request is ambiguous, and guessing is how requests are smuggled. */
function readMessage(
  request: IncomingMessage,
  connection: Connection,
  replayBytes: number,
  expectContinue: boolean,
  upgrade: string | undefined,
): Message | undefined {
  const headers = fromRaw(request.rawHeaders)
  let host: string | undefined
  let length: number | undefined
  let chunked = false
  let to = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1] ?? ''
    if (name === 'host') {
      if (host !== undefined) return undefined
      host = value
      continue
    }
    if (name === 'expect') continue
    if (name === 'content-length') length = Number(value)
    else if (name === 'transfer-encoding') chunked = true
    headers[to++] = name
    headers[to++] = value
  }
  headers.length = to
  if (length !== undefined && (chunked || !Number.isSafeInteger(length))) return undefined
  const hasBody = chunked || (length !== undefined && length > 0)
  const target = splitTarget(request.url ?? '/')
  return {
    method: request.method ?? 'GET',
    path: target.path,
    authority: target.authority ?? host ?? defaultAuthority(connection),
    headers,
    body: hasBody
      ? new RequestBody(request, length, replayBytes, () =>
          request.rawTrailers.length === 0 ? undefined : fromRaw(request.rawTrailers),
        )
      : undefined,
    upgrade,
    expectContinue,
  }
}

/** Absolute form (RFC 9112 3.2.2): its authority wins over Host. */
function splitTarget(url: string): { path: string; authority: string | undefined } {
  if (url.startsWith('/')) return { path: url, authority: undefined }
  const found = /^https?:\/\/([^/?]*)(.*)$/i.exec(url)
  if (found === null) return { path: url, authority: undefined }
  const rest = found[2] ?? ''
  return { path: rest.startsWith('/') ? rest : `/${rest}`, authority: found[1] }
}

/** HTTP/1.0 may leave Host out: then it is what the client connected to. */
function defaultAuthority({ service }: Connection): string {
  const [namespace = '', rest = ''] = service.name.split('/')
  return `${rest.split(':')[0] ?? ''}.${namespace}:${service.port}`
}
