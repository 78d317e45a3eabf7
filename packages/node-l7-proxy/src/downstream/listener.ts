// SPDX-License-Identifier: Apache-2.0
// accept → origin → codec. Nothing is read from a connection before the kernel has said where it was headed, and the codec
// follows from the declared service alone: there is no sniffing.
import { createServer, type Server, type Socket } from 'node:net'
import { type ConfigStore, isHttp2, type Service } from '../config/config.ts'
import type { Datapath } from '../datapath.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { loadNative } from '../native.ts'
import type { Options } from '../options.ts'
import type { Origin } from '../origin.ts'
import type { Http1Server } from './http1.ts'
import type { Http2Server } from './http2.ts'
import type { Shares } from './quota.ts'

/**
 * Connections that wait to be accepted, as the parent asked for: node listens once more, with 511 unless told. What does
 * not fit is dropped by the kernel, and its client tries again after 1, 3 and 7 s (net.core.somaxconn bounds it, too).
 */
const backlog = 4096

/**
 * libuv accepts one connection of a descriptor in a turn of its loop: fifty a second when bodies make turns of 20 ms, and
 * everybody who connects waits behind a crowd. So every listening socket is served through as many descriptors.
 */
const acceptsPerTurn = 16

/** A connection whose service is not known yet: the kernel may be told of it a moment before we are. */
type Held = {
  readonly socket: Socket
  readonly origin: Origin
  readonly timer: NodeJS.Timeout
}

export class Listener {
  readonly #datapath: Datapath
  readonly #config: ConfigStore
  readonly #metrics: Metrics
  readonly #options: Options
  readonly #shares: Shares
  readonly #http1: Http1Server
  readonly #http2: Http2Server
  readonly #servers: Server[] = []
  readonly #held: Set<Held> = new Set()

  constructor(
    datapath: Datapath,
    config: ConfigStore,
    metrics: Metrics,
    options: Options,
    shares: Shares,
    http1: Http1Server,
    http2: Http2Server,
  ) {
    this.#datapath = datapath
    this.#config = config
    this.#metrics = metrics
    this.#options = options
    this.#shares = shares
    this.#http1 = http1
    this.#http2 = http2
  }

  /** Accepts from descriptors that listen already. Resolves when all of them are served. */
  async listen(fds: readonly number[]): Promise<void> {
    const native = loadNative()
    const more = fds.flatMap((fd) =>
      Array.from({ length: acceptsPerTurn - 1 }, () => native.duplicate(fd)),
    )
    await Promise.all(
      [...fds, ...more].map((fd) => {
        const { promise, resolve, reject } = Promise.withResolvers<undefined>()
        const server = createServer(
          { pauseOnConnect: true, noDelay: true, allowHalfOpen: true },
          (socket) => {
            this.#accept(socket)
          },
        )
        server.once('error', reject)
        // An argument of its own: for a descriptor node overlooks the option of this name.
        server.listen({ fd, exclusive: true }, backlog, () => {
          resolve(undefined)
        })
        this.#servers.push(server)
        return promise
      }),
    )
  }

  /** No new connections. */
  stop(): void {
    for (const server of this.#servers) server.close()
    for (const held of this.#held) this.#drop(held)
  }

  /** Connections that waited for their service; call after every change of configuration. */
  release(): void {
    for (const held of this.#held) {
      const service = this.#serviceOf(held.origin)
      if (service === undefined) continue
      clearTimeout(held.timer)
      this.#held.delete(held)
      this.#start(held.socket, held.origin, service)
    }
    this.#metrics.gauges.heldConnections = this.#held.size
  }

  #accept(socket: Socket): void {
    const { counters, gauges } = this.#metrics
    socket.on('error', ignore)
    const origin = this.#datapath.origin(socket)
    if (origin === undefined) {
      // Nobody's redirect: serving it would make the proxy an open relay.
      counters.noOriginConnections++
      socket.destroy()
      return
    }
    if (gauges.activeConnections >= this.#options.connections) {
      counters.connectionLimit++
      socket.destroy()
      return
    }
    if (!this.#shares.connect(origin.identity)) {
      socket.destroy()
      return
    }
    gauges.activeConnections++
    socket.once('close', () => {
      gauges.activeConnections--
      this.#shares.disconnect(origin.identity)
    })
    const service = this.#serviceOf(origin)
    if (service === undefined) this.#hold(socket, origin)
    else this.#start(socket, origin, service)
  }

  #serviceOf(origin: Origin): Service | undefined {
    return this.#config.accepting(origin.service)
  }

  #start(socket: Socket, origin: Origin, service: Service): void {
    const http2 = isHttp2(service.protocol)
    const client = this.#config.current.clients.of(origin)
    const connection = { origin, client, service, http2 }
    // HTTP/1.1 may end its side and wait for the answer; an HTTP/2 session without its reading side is over, and node would
    // keep it.
    socket.allowHalfOpen = !http2
    if (http2) this.#http2.accept(socket, connection)
    else this.#http1.accept(socket, connection)
    socket.resume()
  }

  #hold(socket: Socket, origin: Origin): void {
    if (this.#held.size >= this.#options.heldConnections) {
      this.#metrics.counters.heldLimit++
      socket.destroy()
      return
    }
    const timer = setTimeout(() => {
      this.#metrics.counters.unknownServiceConnections++
      this.#drop(held)
    }, this.#options.heldMs)
    const held: Held = { socket, origin, timer }
    this.#held.add(held)
    socket.once('close', () => {
      this.#drop(held)
    })
    this.#metrics.gauges.heldConnections = this.#held.size
  }

  #drop(held: Held): void {
    if (!this.#held.delete(held)) return
    clearTimeout(held.timer)
    held.socket.destroy()
    this.#metrics.gauges.heldConnections = this.#held.size
  }
}

/** 'close' follows every error. */
function ignore(): void {
  /* nothing to do */
}
