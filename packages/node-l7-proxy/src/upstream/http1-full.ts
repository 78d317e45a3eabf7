// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 through node:http, for what undici's client has no way to say: request trailers, Expect: 100-continue, Upgrade.
import {
  Agent,
  type ClientRequest,
  type IncomingMessage,
  request as httpRequest,
} from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { RequestBody } from '../body.ts'
import { fromRaw, type Headers } from '../headers.ts'
import type { FloodGauge } from '../limit/flood.ts'
import { connectUpstream } from './connector.ts'
import { classify, ConnectError } from './failure.ts'
import { watchFloods } from './http1-client.ts'
import type { UpstreamSettings } from './pool.ts'
import type {
  UpstreamCall,
  UpstreamEvents,
  UpstreamFailure,
  UpstreamRequest,
} from './upstream.ts'
import { faultOfHead, faultOfInformational } from './validity.ts'

/** Counts calls; the upstream that they belong to. */
type Owner = { active: number }

/** What a connection has done. */
type Use = { readonly bornMs: number; readonly gauge: FloodGauge; requests: number }

export class FullClient {
  readonly #settings: UpstreamSettings
  readonly #agent: Agent
  readonly #uses: WeakMap<Socket, Use> = new WeakMap()

  constructor(settings: UpstreamSettings) {
    this.#settings = settings
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: settings.connections,
      timeout: settings.idleMs,
    })
    this.#agent.createConnection = () =>
      connectUpstream(settings.datapath, settings.target)
  }

  start(request: UpstreamRequest, events: UpstreamEvents, owner: Owner): UpstreamCall {
    const take = (socket: Socket): Use => this.#take(socket)
    return new FullCall(this.#settings, this.#agent, request, events, owner, take)
  }

  close(): void {
    this.#agent.destroy()
  }

  /** Counts a request on this connection. */
  #take(socket: Socket): Use {
    let use = this.#uses.get(socket)
    if (use === undefined) {
      const gauge = watchFloods(socket, this.#settings)
      use = { bornMs: performance.now(), gauge, requests: 0 }
      this.#uses.set(socket, use)
    }
    use.requests++
    use.gauge.begin()
    return use
  }
}

class FullCall implements UpstreamCall {
  readonly #settings: UpstreamSettings
  readonly #events: UpstreamEvents
  readonly #owner: Owner
  readonly #request: ClientRequest | undefined
  readonly #body: RequestBody | undefined
  #response: IncomingMessage | undefined
  #use: Use | undefined
  readonly #upgrading: boolean
  #sending = false
  #informational = 0
  #over = false

  constructor(
    settings: UpstreamSettings,
    agent: Agent,
    request: UpstreamRequest,
    events: UpstreamEvents,
    owner: Owner,
    take: (socket: Socket) => Use,
  ) {
    this.#settings = settings
    this.#events = events
    this.#owner = owner
    this.#body = request.body
    this.#upgrading = request.upgrade !== undefined
    try {
      this.#request = httpRequest({
        agent,
        host: settings.target.host,
        port: settings.target.port,
        method: request.method,
        path: request.path,
        headers: fullHeaders(request),
        maxHeaderSize: settings.headerBytes,
        setHost: false,
      })
    } catch (error) {
      // createConnection failed at once; an event must not come before start() returned.
      setImmediate(() => {
        this.#fail(error)
      })
      return
    }
    // Node drops what is beyond without a word: one more, so that it shows.
    this.#request.maxHeadersCount = settings.headerFields + 1
    this.#listen(this.#request, take)
    if (!request.expectContinue) this.#send(this.#request)
  }

  get held(): number {
    return this.#response?.readableLength ?? 0
  }

  pause(): void {
    this.#response?.pause()
  }

  resume(): void {
    this.#response?.resume()
  }

  cancel(): void {
    if (this.#finish()) this.#request?.destroy()
  }

  #listen(request: ClientRequest, take: (socket: Socket) => Use): void {
    request.on('socket', (socket) => {
      this.#use = take(socket)
      if (this.#isLast(this.#use)) request.shouldKeepAlive = false
      if (!socket.connecting) this.#connected()
      else
        socket.once('connect', () => {
          this.#connected()
        })
    })
    request.on('information', (info) => {
      if (this.#over) return
      const fault = faultOfInformational(
        info.statusCode,
        ++this.#informational,
        this.#settings,
      )
      if (fault !== undefined) this.#refuse(fault)
      else if (info.statusCode !== 100)
        this.#events.onInformational(info.statusCode, fromRaw(info.rawHeaders))
    })
    request.on('continue', () => {
      if (this.#over) return
      this.#events.onInformational(100, [])
      this.#send(request)
    })
    request.on('response', (response) => {
      this.#onResponse(request, response)
    })
    request.on('upgrade', (response, socket: Duplex, head) => {
      // From here on the bytes are the client's and the endpoint's own affair.
      if (this.#use !== undefined) this.#settings.floods.forget(this.#use.gauge)
      if (!this.#upgrading) {
        // A tunnel that nobody asked for: the client's next requests would go through it unseen.
        socket.destroy()
        this.#refuse({
          kind: 'protocol',
          detail: `${this.#settings.label}: status 101 unasked`,
        })
      } else if (this.#finish())
        this.#events.onTunnel(fromRaw(response.rawHeaders), socket, head)
      else socket.destroy()
    })
    request.on('error', (error) => {
      this.#fail(error)
    })
  }

  /** True when the connection is to carry no further request. */
  #isLast({ bornMs, requests }: Use): boolean {
    const { maxAgeMs, maxRequests } = this.#settings
    const isOld = maxAgeMs > 0 && performance.now() - bornMs >= maxAgeMs
    return isOld || requests === maxRequests
  }

  #connected(): void {
    if (!this.#over) this.#events.onConnection()
  }

  #onResponse(request: ClientRequest, response: IncomingMessage): void {
    if (this.#over) {
      response.destroy()
      return
    }
    this.#response = response
    const headers = fromRaw(response.rawHeaders)
    const status = response.statusCode ?? 502
    const fault = faultOfHead(status, headers, this.#settings)
    if (fault !== undefined) {
      this.#refuse(fault)
      return
    }
    // A final answer instead of 100: the body will not be sent, so this connection cannot be used again.
    if (!this.#sending) request.shouldKeepAlive = false
    this.#events.onHead(status, headers, false)
    response.on('data', (chunk: Buffer) => {
      this.#use?.gauge.received(chunk.length)
      if (!this.#over) this.#events.onData(chunk)
    })
    response.on('end', () => {
      if (!this.#finish()) return
      const { rawTrailers } = response
      this.#events.onEnd(rawTrailers.length === 0 ? undefined : fromRaw(rawTrailers))
      if (!request.writableFinished && !this.#sending) request.destroy()
    })
    response.on('error', (error) => {
      this.#fail(error)
    })
    response.on('close', () => {
      this.#fail(new Error('closed'))
    })
  }

  /** Streams the body; ends with trailers when there are any. */
  #send(request: ClientRequest): void {
    if (this.#sending) return
    this.#sending = true
    const body = this.#body
    if (body === undefined) {
      request.end()
      return
    }
    const stream = body.open()
    stream.on('data', (chunk: Buffer) => {
      if (!request.write(chunk)) stream.pause()
    })
    stream.on('end', () => {
      const { trailers } = body
      if (trailers !== undefined && body.length === undefined)
        request.addTrailers(pairs(trailers))
      request.end()
    })
    stream.on('error', (error) => {
      request.destroy(error)
    })
    request.on('drain', () => {
      stream.resume()
    })
    request.on('close', () => {
      stream.destroy()
    })
  }

  #refuse(fault: UpstreamFailure): void {
    if (!this.#finish()) return
    this.#request?.destroy()
    this.#events.onFailure(fault)
  }

  #fail(error: unknown): void {
    if (!this.#finish()) return
    this.#request?.destroy()
    const cause =
      error instanceof ConnectError || error instanceof Error
        ? error
        : new Error(String(error))
    this.#events.onFailure(classify(cause, this.#settings.label))
  }

  #finish(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#owner.active--
    return true
  }
}

function fullHeaders(request: UpstreamRequest): Headers {
  const headers: Headers = ['host', request.authority, ...request.headers]
  if (request.expectContinue) headers.push('expect', '100-continue')
  if (request.body !== undefined && request.body.length === undefined) {
    headers.push('transfer-encoding', 'chunked')
  }
  if (request.upgrade !== undefined)
    headers.push('connection', 'Upgrade', 'upgrade', request.upgrade)
  else headers.push('connection', 'keep-alive')
  return headers
}

function pairs(headers: Headers): [string, string][] {
  const list: [string, string][] = []
  for (let i = 0; i < headers.length; i += 2)
    list.push([headers[i] ?? '', headers[i + 1] ?? ''])
  return list
}
