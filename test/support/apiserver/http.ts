// SPDX-License-Identifier: Apache-2.0
// The listening side: sockets, TLS, who asks, may they, faults on demand, and the record of every call.
import { createServer as createPlain, type IncomingMessage, type Server } from 'node:http'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { answer, resourceOf, type Answer } from './api.ts'
import type { Parts } from './call.ts'
import { ApiError, forbidden } from './errors.ts'
import { describeDenial, isAllowed, type Access } from './rbac.ts'
import { parseRequest, type RequestInfo } from './request.ts'
import { matcherOf } from './selectors.ts'
import { collectionOf, type User } from './types.ts'
import { Watch, type WatchKnobs } from './watch.ts'

/** One call that was made, as RBAC sees it. */
export interface RecordedCall extends Access {
  readonly user: string
  readonly allowed: boolean
  /** Status of the answer; 0 until it is given. */
  code: number
}

/** Answers to spoil. */
interface Failure {
  left: number
  readonly code: number
  readonly matches: (info: RequestInfo) => boolean
}

const maxBodyBytes = 3 * 1024 * 1024
const reasons: Readonly<Record<number, string>> = {
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

/** The HTTP server over the parts. */
export class HttpFront {
  readonly calls: RecordedCall[] = []
  readonly watches = new Set<Watch>()
  readonly knobs: WatchKnobs
  failures: Failure[] = []
  port = 0
  readonly #parts: Parts
  readonly #tls: { cert: string; key: string } | undefined
  #server: Server | undefined
  #waiting: (() => void)[] = []

  constructor(
    parts: Parts,
    options: { tls?: { cert: string; key: string }; bookmarkMs: number },
  ) {
    this.#parts = parts
    this.#tls = options.tls
    this.knobs = { slowMs: 0, paused: false, bookmarkMs: options.bookmarkMs }
  }

  /** Listens on 127.0.0.1, on the port that it had before or a free one. */
  async start(port = this.port): Promise<void> {
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#handle(request, response)
    this.#server =
      this.#tls === undefined ? createPlain(listener) : createServer(this.#tls, listener)
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
    this.port = (server.address() as AddressInfo).port
  }

  /** Stops listening and cuts all connections. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const watch of this.watches) watch.cut()
    this.watches.clear()
    if (server === undefined) return
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }

  /** Answers nothing more until resumed; connections are still accepted. */
  pause(): void {
    this.knobs.paused = true
  }

  resume(): void {
    this.knobs.paused = false
    for (const watch of this.watches) watch.pump()
    for (const go of this.#waiting.splice(0)) go()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined)
    try {
      const body = await readBody(request)
      if (this.knobs.paused)
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
      if (response.destroyed) return
      this.#serve(request, response, body)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else send(response, failureAnswer(error))
    }
  }

  #serve(request: IncomingMessage, response: ServerResponse, body: string): void {
    const info = parseRequest(request)
    const user = this.#parts.tokens.authenticate(request.headers.authorization)
    const call = this.#authorize(info, user)
    response.on('close', () => (call.code = response.statusCode))
    this.#spoil(info)
    if (info.verb === 'watch') {
      this.#watch(info, response)
      return
    }
    const contentType =
      request.headers['content-type']?.split(';')[0] ?? 'application/json'
    const userAgent = request.headers['user-agent'] ?? ''
    if (contentType.startsWith('application/apply-patch'))
      this.#authorizeApply(info, user)
    const result = answer(this.#parts, { info, user, contentType, userAgent, body })
    call.code = result.code
    send(response, result)
  }

  #watch(info: RequestInfo, response: ServerResponse): void {
    const { store } = this.#parts
    const resource = resourceOf(this.#parts, info)
    const namespace = resource.namespaced ? info.namespace : undefined
    const matches = matcherOf(info.query, resource, namespace)
    const watch = new Watch(
      ...([
        store,
        { resource, query: info.query, matches },
        response,
        this.knobs,
      ] as const),
    )
    this.watches.add(watch)
    response.on('close', () => this.watches.delete(watch))
  }

  /** Ends the watches of a kind that is no longer served. */
  endWatches(collection: string): void {
    for (const watch of this.watches)
      if (collectionOf(watch.resource) === collection) watch.end()
  }

  #authorize(info: RequestInfo, user: User): RecordedCall {
    const { verb, group, plural, subresource, namespace, name } = info
    const access: Access = {
      ...{ verb, group, resource: plural, subresource, namespace, name },
      ...(plural === '' ? { path: info.path } : {}),
    }
    const allowed = !this.#parts.rbac || isAllowed(this.#parts.store, user, access)
    const call = { user: user.username, ...access, allowed, code: allowed ? 0 : 403 }
    this.calls.push(call)
    if (allowed) return call
    const details = { name: name ?? '', group, kind: plural }
    throw forbidden(describeDenial(user, access), details)
  }

  /** An apply that creates needs both verbs. */
  #authorizeApply(info: RequestInfo, user: User): void {
    const resource = resourceOf(this.#parts, info)
    const namespace = resource.namespaced ? info.namespace : undefined
    const key = `${namespace ?? ''}/${info.name ?? ''}`
    if (this.#parts.store.get(collectionOf(resource), key) === undefined)
      this.#authorize({ ...info, verb: 'create' }, user)
  }

  #spoil(info: RequestInfo): void {
    const failure = this.failures.find((f) => f.left > 0 && f.matches(info))
    if (failure === undefined) return
    failure.left--
    const { code } = failure
    throw new ApiError(code, reasons[code] ?? 'InternalError', 'failed on demand', {
      retryAfterSeconds: code === 429 ? 1 : 0,
    })
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBodyBytes)
      throw new ApiError(
        ...([413, 'RequestEntityTooLarge'] as const),
        `the request is longer than ${maxBodyBytes} bytes`,
      )
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function failureAnswer(error: unknown): Answer {
  const known =
    error instanceof ApiError
      ? error
      : new ApiError(500, 'InternalError', (error as Error).stack ?? String(error))
  return { code: known.code, body: known.status() }
}

function send(response: ServerResponse, { code, body }: Answer): void {
  const isText = typeof body === 'string'
  const headers = {
    'content-type': isText ? 'text/plain' : 'application/json',
    ...(code === 429 ? { 'retry-after': '1' } : {}),
  }
  response.writeHead(code, headers).end(isText ? body : JSON.stringify(body))
}
