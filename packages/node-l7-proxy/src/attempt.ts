// SPDX-License-Identifier: Apache-2.0
// One try at one endpoint: its timers, its places in the counts, what its end says of the endpoint, and the guard that an attempt which was given up
// is never heard again.
import type { Duplex } from 'node:stream'
import type { BreakerPlace } from './cluster/breaker.ts'
import type { Cluster } from './cluster/cluster.ts'
import type { Endpoint } from './cluster/endpoint.ts'
import {
  type AttemptResult,
  resultOfGrpcStatus,
  resultOfStatus,
} from './cluster/outlier.ts'
import type { Exchange } from './exchange.ts'
import { grpcStatus } from './grpc/status.ts'
import type { Headers } from './headers.ts'
import type {
  Upstream,
  UpstreamCall,
  UpstreamEvents,
  UpstreamFailure,
  UpstreamRequest,
} from './upstream/upstream.ts'

/** What the pipeline hears of its current attempt. */
export type AttemptSink = {
  informational(exchange: Exchange, status: number, headers: Headers): void
  head(attempt: Attempt, status: number, headers: Headers, ended: boolean): void
  data(attempt: Attempt, chunk: Buffer): void
  end(attempt: Attempt, trailers: Headers | undefined): void
  failed(attempt: Attempt, failure: UpstreamFailure): void
  timedOut(attempt: Attempt): void
  tunnel(attempt: Attempt, headers: Headers, socket: Duplex, head: Buffer): void
}

/** An answer that is not passed on is read to its end, so that the connection can be used again, up to this size. */
const discardBytes = 65_536

/** Which failures speak against the endpoint. One that says that it is closing is in order. */
const isTrouble: Readonly<Record<UpstreamFailure['kind'], boolean>> = {
  connect: true,
  reset: true,
  protocol: true,
  denied: false,
  refused: false,
  overflow: false,
}

export class Attempt implements UpstreamEvents {
  readonly exchange: Exchange
  readonly endpoint: Endpoint
  readonly spanId: string
  /** Attempts of the request before it. */
  readonly resends: number
  readonly startedMs: number = performance.now()
  readonly #sink: AttemptSink
  readonly #cluster: Cluster
  readonly #place: BreakerPlace
  #call: UpstreamCall | undefined
  #timer: NodeJS.Timeout | undefined
  #perTryMs: number
  #backendMs: number
  #state: 'running' | 'discarding' | 'over' = 'running'
  #discarded = 0
  #judged = false

  /** Timeouts of 0 are none. `perTryMs` is until the head, `backendMs` until the end (GEP-1742). */
  constructor(
    exchange: Exchange,
    endpoint: Endpoint,
    cluster: Cluster,
    spanId: string,
    sink: AttemptSink,
    perTryMs: number,
    backendMs: number,
  ) {
    this.exchange = exchange
    this.endpoint = endpoint
    this.spanId = spanId
    this.resends = exchange.attempts - 1
    this.#sink = sink
    this.#perTryMs = perTryMs
    this.#backendMs = backendMs
    this.#cluster = cluster
    this.#place = cluster.breaker.enter()
    endpoint.active++
  }

  start(upstream: Upstream, request: UpstreamRequest): void {
    const bound = smallest(this.#perTryMs, this.#backendMs)
    if (bound > 0) this.#arm(bound)
    const call = upstream.start(request, this)
    // It may have failed, and have been given up, before start() returned.
    if (this.#state === 'over') call.cancel()
    else this.#call = call
  }

  /** Bytes of the answer that came and were not passed on. */
  get held(): number {
    return this.#call?.held ?? 0
  }

  pause(): void {
    this.#call?.pause()
  }

  resume(): void {
    this.#call?.resume()
  }

  /** Gives up: nothing is heard of it any more. */
  cancel(): void {
    if (this.#state === 'over') return
    this.#leave()
    this.#call?.cancel()
  }

  /** Another attempt of the request was first. Of its endpoint it says that it takes so long at least, and nothing else. */
  lose(): void {
    const waitedMs = performance.now() - this.startedMs
    if (!this.#judged) this.#cluster.outlasted(this.endpoint, waitedMs)
    this.cancel()
  }

  /** The answer is not wanted; the connection is. */
  discard(): void {
    if (this.#state !== 'running') return
    this.#state = 'discarding'
    // The next try must not be refused because of this one.
    this.#place.leave()
    this.#clear()
    this.#arm(1000)
  }

  /** The client's time is up, and the endpoint has not answered. */
  expire(): void {
    if (this.#state === 'running') this.#judge('gateway')
    this.cancel()
  }

  onConnection(): void {
    this.#place.connected()
  }

  onInformational(status: number, headers: Headers): void {
    if (this.#state === 'running')
      this.#sink.informational(this.exchange, status, headers)
  }

  onHead(status: number, headers: Headers, ended: boolean): void {
    if (this.#state !== 'running') return
    this.#judgeHead(status, headers)
    if (ended) this.#leave()
    else if (this.#perTryMs > 0) this.#rearmForBody()
    this.#sink.head(this, status, headers, ended)
  }

  onData(chunk: Buffer): void {
    if (this.#state === 'running') this.#sink.data(this, chunk)
    else if (
      this.#state === 'discarding' &&
      (this.#discarded += chunk.length) > discardBytes
    )
      this.cancel()
  }

  onEnd(trailers: Headers | undefined): void {
    const running = this.#state === 'running'
    this.#judge(resultOfGrpcStatus(grpcStatus(trailers ?? []) ?? 2))
    this.#leave()
    if (running) this.#sink.end(this, trailers)
  }

  onFailure(failure: UpstreamFailure): void {
    const running = this.#state === 'running'
    if (isTrouble[failure.kind]) this.#judge('gateway')
    this.#leave()
    if (running) this.#sink.failed(this, failure)
  }

  onTunnel(headers: Headers, socket: Duplex, head: Buffer): void {
    if (this.#state !== 'running') {
      socket.destroy()
      return
    }
    this.#clear()
    this.#sink.tunnel(this, headers, socket, head)
  }

  /** The tunnel that this attempt became has ended. */
  leaveTunnel(): void {
    this.#leave()
  }

  /** Of a gRPC call the head says nothing yet, unless it is all there is. */
  #judgeHead(status: number, headers: Headers): void {
    if (!this.exchange.grpc || status !== 200) return this.#judge(resultOfStatus(status))
    const said = grpcStatus(headers)
    if (said !== undefined) this.#judge(resultOfGrpcStatus(said))
  }

  /** Tells the service once how its endpoint did, and how long it took. */
  #judge(result: AttemptResult): void {
    if (this.#judged) return
    this.#judged = true
    this.#cluster.judge(this.endpoint, result, performance.now() - this.startedMs)
  }

  #rearmForBody(): void {
    this.#clear()
    if (this.#backendMs > 0) {
      this.#arm(Math.max(1, this.#backendMs - (performance.now() - this.startedMs)))
    }
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => {
      const running = this.#state === 'running'
      if (running) this.#judge('gateway')
      this.cancel()
      if (running) this.#sink.timedOut(this)
    }, ms)
  }

  #clear(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #leave(): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#clear()
    this.endpoint.active--
    this.#place.leave()
  }
}

function smallest(a: number, b: number): number {
  return a === 0 ? b : b === 0 ? a : Math.min(a, b)
}
