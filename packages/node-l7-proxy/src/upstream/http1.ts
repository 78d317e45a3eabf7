// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 to an endpoint. undici carries the many; what its client cannot do (trailers, Expect, Upgrade) goes through
// node:http (http1-full.ts) over connections of its own.
import { type Dispatcher, Pool } from 'undici'
import { fromObject, type Headers } from '../headers.ts'
import { connectUpstream } from './connector.ts'
import { classify } from './failure.ts'
import { CountedClient, type CountedHandler, watchFloods } from './http1-client.ts'
import { FullClient } from './http1-full.ts'
import type { UpstreamSettings } from './pool.ts'
import type {
  Upstream,
  UpstreamCall,
  UpstreamEvents,
  UpstreamRequest,
} from './upstream.ts'
import { faultOfHead, faultOfInformational } from './validity.ts'

export class Http1Upstream implements Upstream {
  readonly #settings: UpstreamSettings
  readonly #pool: Pool
  #full: FullClient | undefined
  active = 0
  lastUsedMs = 0

  constructor(settings: UpstreamSettings) {
    this.#settings = settings
    this.#pool = new Pool(`http://${settings.label}`, {
      connections: settings.connections,
      pipelining: 1,
      keepAliveTimeout: settings.idleMs,
      keepAliveMaxTimeout: settings.idleMs,
      maxHeaderSize: settings.headerBytes,
      ...(settings.maxAgeMs > 0 && { clientTtl: settings.maxAgeMs }),
      ...(settings.maxRequests > 0 && { maxRequestsPerClient: settings.maxRequests }),
      // Timeouts are the route's (filter/timeout.ts), not the client's.
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
      factory: (origin, options) => {
        const client: CountedClient = new CountedClient(origin, {
          ...options,
          connect: (_options, callback) => {
            this.#connect(client, callback)
          },
        })
        return client
      },
    })
  }

  start(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall {
    this.active++
    this.lastUsedMs = performance.now()
    if (needsFull(request)) {
      this.#full ??= new FullClient(this.#settings)
      return this.#full.start(request, events, this)
    }
    return new FastCall(this, this.#settings, this.#pool, request, events)
  }

  close(): void {
    // Graceful: requests in flight end first. Failures here have nobody to tell.
    void this.#pool.close().catch(() => undefined)
    this.#full?.close()
  }

  #connect(
    client: CountedClient,
    callback: (...args: [null, import('node:net').Socket] | [Error, null]) => void,
  ): void {
    let socket
    try {
      socket = connectUpstream(this.#settings.datapath, this.#settings.target)
    } catch (error) {
      callback(error as Error, null)
      return
    }
    const onError = (error: Error): void => {
      callback(error, null)
    }
    socket.once('error', onError)
    socket.once('connect', () => {
      socket.off('error', onError)
      client.gauge = watchFloods(socket, this.#settings)
      callback(null, socket)
    })
  }
}

/** What undici cannot say: Upgrade, Expect, trailers, "OPTIONS *". */
function needsFull({ upgrade, expectContinue, path, body }: UpstreamRequest): boolean {
  const chunked = body !== undefined && body.length === undefined
  return upgrade !== undefined || expectContinue || chunked || path === '*'
}

/** One exchange through undici; pooled connections, one write for the head. */
class FastCall implements UpstreamCall, CountedHandler {
  readonly #upstream: Http1Upstream
  readonly #settings: UpstreamSettings
  readonly #events: UpstreamEvents
  #controller: Dispatcher.DispatchController | undefined
  #client: CountedClient | undefined
  #informational = 0
  #over = false
  readonly held: number = 0

  constructor(
    upstream: Http1Upstream,
    settings: UpstreamSettings,
    pool: Pool,
    request: UpstreamRequest,
    events: UpstreamEvents,
  ) {
    this.#upstream = upstream
    this.#settings = settings
    this.#events = events
    const headers: Headers = ['host', request.authority, ...request.headers]
    pool.dispatch(
      {
        path: request.path,
        method: request.method as Dispatcher.HttpMethod,
        headers,
        body: request.body?.open() ?? null,
      },
      this,
    )
  }

  pause(): void {
    this.#controller?.pause()
  }

  resume(): void {
    this.#controller?.resume()
  }

  cancel(): void {
    if (this.#finish()) this.#controller?.abort(new Error('cancelled'))
  }

  onClient(client: CountedClient): void {
    this.#client = client
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    this.#client?.gauge?.begin()
    if (this.#over)
      controller.abort(new Error('cancelled')) // while it waited for a connection
    else this.#events.onConnection()
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    fields: Record<string, string | string[] | undefined>,
  ): void {
    if (this.#over) return
    const headers = fromObject(fields)
    const interim = status < 200
    const fault = interim
      ? faultOfInformational(status, ++this.#informational, this.#settings)
      : faultOfHead(status, headers, this.#settings)
    if (fault !== undefined) {
      if (this.#finish()) this.#events.onFailure(fault)
      controller.abort(new Error(fault.detail))
    } else if (interim) this.#events.onInformational(status, headers)
    else this.#events.onHead(status, headers, false)
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#client?.gauge?.received(chunk.length)
    if (!this.#over) this.#events.onData(chunk)
  }

  onResponseEnd(
    _: Dispatcher.DispatchController,
    trailers: Record<string, string | string[] | undefined>,
  ): void {
    if (!this.#finish()) return
    const list = fromObject(trailers)
    this.#events.onEnd(list.length === 0 ? undefined : list)
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#finish()) this.#events.onFailure(classify(error, this.#settings.label))
  }

  /** False when it was over before. */
  #finish(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#upstream.active--
    return true
  }
}
