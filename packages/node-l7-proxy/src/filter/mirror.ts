// SPDX-License-Identifier: Apache-2.0
// HTTPRequestMirrorFilter (Gateway API): a copy of a request to a backend whose answer nobody reads. Copies never delay or fail
// the request that they are of: each is sent when the whole body is there, and is given up when a bound is met.
import { Readable } from 'node:stream'
import {
  evaluateRequest,
  judgedBit,
  type RequestPolicy,
  strictPath,
} from '@pillion/contract'
import { RequestBody } from '../body.ts'
import type { BreakerPlace } from '../cluster/breaker.ts'
import type { Endpoint } from '../cluster/endpoint.ts'
import { noRoom } from '../downstream/quota.ts'
import { leastRequest } from '../cluster/balance/p2c.ts'
import { type ConfigStore, speaksHttp2 } from '../config/config.ts'
import type { Exchange, Message } from '../exchange.ts'
import type { Headers } from '../headers.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { MirrorSpec } from '../route/table.ts'
import type { UpstreamPools } from '../upstream/pool.ts'
import type { UpstreamCall, UpstreamEvents } from '../upstream/upstream.ts'

/** Copies of a worker that are not over; with bodies of `bodyBytes` at most this is 16 MiB. */
export const maxCopies = 256

/** Requests with a longer body are not copied: half a body would be another request. */
export const bodyBytes = 65_536

/** From the request's head to the end of the copy's answer. */
const timeoutMs = 10_000

/** What the copies work with. */
export type MirrorParts = {
  readonly config: ConfigStore
  readonly pools: UpstreamPools
  readonly metrics: Metrics
}

export class Mirrors {
  readonly #parts: MirrorParts
  #copies = 0

  constructor(parts: MirrorParts) {
    this.#parts = parts
  }

  /**
   * Copies the request as the filters have made it. Call before the body is opened. `random` is asked once a mirror, so
   * that each has its own share.
   */
  copy(exchange: Exchange, mirrors: readonly MirrorSpec[], random: () => number): void {
    for (const mirror of mirrors) {
      // A tunnel has no end at which it could be sent.
      if (exchange.message.upgrade !== undefined || random() >= mirror.share) continue
      if (this.#copies >= maxCopies) this.#parts.metrics.counters.mirrorsDropped++
      else this.#start(exchange, mirror)
    }
  }

  #start({ message, connection }: Exchange, mirror: MirrorSpec): void {
    const { counters } = this.#parts.metrics
    this.#copies++
    const { identity } = connection.client
    const { method, path, authority } = message
    const copy = new Copy((sent) => {
      this.#copies--
      if (sent) counters.mirrored++
      else counters.mirrorsDropped++
    })
    const send = (body: RequestBody | undefined): void => {
      const request = { method, path, authority, headers, body, ...plain }
      this.#send(copy, mirror, request, identity, connection.http2)
    }
    const headers = message.headers.slice()
    if (message.body === undefined) send(undefined)
    else collect(message.body, copy, send)
  }

  #send(
    copy: Copy,
    { backend }: MirrorSpec,
    request: Message,
    identity: number,
    http2: boolean,
  ): void {
    const { config, pools } = this.#parts
    const target = config.current.byName.get(backend.servicePort ?? '')
    const endpoint =
      target && leastRequest(target.cluster.usable(target.ready), Math.random, [])
    if (target === undefined || endpoint === undefined) return copy.giveUp()
    const policy = config.current.policies.get(endpoint.identity)
    const carried =
      policy === undefined ? identity : allowedAs(policy, identity, endpoint, request)
    if (carried === undefined) return copy.giveUp()
    const speaks = speaksHttp2(target.protocol, backend.protocol, http2)
    const upstream = pools.get(endpoint, carried, speaks, target.cluster)
    const { breaker } = target.cluster
    if (pools.isFull(upstream) || breaker.refusal() !== undefined) return copy.giveUp()
    copy.begin(endpoint, breaker.enter())
    copy.hold(upstream.start(request, copy))
  }
}

const plain = { upgrade: undefined, expectContinue: false } as const

/**
 * The identity that a copy goes with where rules for requests protect its endpoint; undefined: not at all. A copy has nobody
 * who could be refused or asked for a token, so what is not allowed as it stands, without one, is not sent.
 */
function allowedAs(
  policy: RequestPolicy,
  caller: number,
  { port }: Endpoint,
  { method, path, authority, headers }: Message,
): number | undefined {
  const strict = strictPath(path)
  if (!('path' in strict) || strict.path !== path) return undefined
  const request = { caller, port, method, path, authority, headers, token: undefined }
  if (!evaluateRequest(policy, request).enforced.allowed) return undefined
  return policy.judged.has(caller) ? caller + judgedBit : caller
}

/** Gives `send` the body when it is complete; gives up the copy when it is too long or never ends. */
function collect(body: RequestBody, copy: Copy, send: (body: RequestBody) => void): void {
  if ((body.length ?? 0) > bodyBytes) return copy.giveUp()
  const chunks: Buffer[] = []
  let size = 0
  body.tap({
    data: (chunk) => {
      if (copy.over) return
      if ((size += chunk.length) > bodyBytes) {
        chunks.length = 0
        copy.giveUp()
      } else chunks.push(chunk)
    },
    end: () => {
      if (copy.over) return
      const source = Readable.from(chunks, { objectMode: false })
      send(new RequestBody(source, size, 0, noRoom, () => body.trailers))
    },
  })
}

/** A copy on its way. Hears the answer, and forgets it. */
class Copy implements UpstreamEvents {
  readonly #finished: (sent: boolean) => void
  readonly #timer: NodeJS.Timeout
  #endpoint: Endpoint | undefined
  #place: BreakerPlace | undefined
  #call: UpstreamCall | undefined
  over = false

  /** `finished` hears once whether an answer came. */
  constructor(finished: (sent: boolean) => void) {
    this.#finished = finished
    this.#timer = setTimeout(() => {
      this.giveUp()
    }, timeoutMs)
    this.#timer.unref()
  }

  /** It counts as a request in flight until it is over. */
  begin(endpoint: Endpoint, place: BreakerPlace): void {
    this.#endpoint = endpoint
    this.#place = place
    endpoint.active++
  }

  hold(call: UpstreamCall): void {
    // It may have failed before start() returned.
    if (this.over) call.cancel()
    else this.#call = call
  }

  giveUp(): void {
    const call = this.#call
    this.#finish(false)
    call?.cancel()
  }

  onConnection(): void {
    this.#place?.connected()
  }

  onInformational(): void {
    /* nobody waits for it */
  }

  onHead(_status: number, _headers: Headers, ended: boolean): void {
    if (ended) this.#finish(true)
  }

  onData(): void {
    /* read and dropped, so that the connection can be used again */
  }

  onEnd(): void {
    this.#finish(true)
  }

  onFailure(): void {
    this.#finish(false)
  }

  onTunnel(_headers: Headers, socket: { destroy(): void }): void {
    socket.destroy()
    this.#finish(false)
  }

  #finish(sent: boolean): void {
    if (this.over) return
    this.over = true
    clearTimeout(this.#timer)
    if (this.#endpoint !== undefined) this.#endpoint.active--
    this.#place?.leave()
    this.#call = undefined
    this.#finished(sent)
  }
}
