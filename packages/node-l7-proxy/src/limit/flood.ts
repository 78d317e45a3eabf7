// SPDX-License-Identifier: Apache-2.0
// Floods of bytes that carry no message. In HTTP/2: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, unknown types, CONTINUATION
// without an end. node shows few of them one by one, and does not need to: all of them are bytes that a connection sends and
// that become neither headers nor bodies. (nghttp2 itself bounds resets, CONTINUATION frames and unanswered control frames.)
import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'

/** How often connections are looked at: what a flood can send meanwhile is what one core can read. */
const patrolMs = 100

/** Free for everybody: windows of data that nobody has read yet are among it. */
const burstBytes = 2_097_152
/** Keep-alive, window updates, chatter. */
const bytesPerSecond = 65_536

/**
 * node's own bound of what an HTTP/2 session holds, in megabytes: as good as none. It never gives back the unsent bytes of a stream
 * that was reset, so that ten megabytes (the default) refuse all streams of a connection on which some hundred downloads
 * were given up. What a session can hold is bounded by windows, streams, header sizes, and by this file.
 */
export const sessionMemoryMb = 1_000_000

const pingBytes = 17
const settingsAckBytes = 9

/** A body that is counted elsewhere. */
type Counted = { readonly bytes: number }

/** What one connection was good for. */
export class FloodGauge {
  readonly #socket: Socket
  readonly #startedMs: number
  /** What the headers of one message may take. */
  readonly #streamBytes: number
  readonly #bodies: Set<Counted> = new Set()
  #streams = 0
  #bodyBytes = 0
  #ackBytes = 0

  constructor(socket: Socket, nowMs: number, streamBytes: number) {
    this.#socket = socket
    this.#startedMs = nowMs
    this.#streamBytes = streamBytes
  }

  /** Bytes of both directions. */
  get traffic(): number {
    return this.#socket.bytesRead + this.#socket.bytesWritten
  }

  /** A request went out. */
  begin(): void {
    this.#streams++
  }

  /** Of a body. */
  received(bytes: number): void {
    this.#bodyBytes += bytes
  }

  /** A stream began, as `begin`; its body counts itself. Call the result at its end. */
  open(body: Counted | undefined): () => void {
    this.#streams++
    if (body === undefined) return () => undefined
    this.#bodies.add(body)
    return () => {
      if (this.#bodies.delete(body)) this.#bodyBytes += body.bytes
    }
  }

  /**
   * Counts PING and SETTINGS of an HTTP/2 session: what is written to acknowledge them explains nothing that is read, or a
   * flood of them would pay for itself.
   */
  discount(session: Http2Session): void {
    session.on('ping', () => {
      this.#ackBytes += pingBytes
    })
    session.on('remoteSettings', () => {
      this.#ackBytes += settingsAckBytes
    })
  }

  /** True when more came than requests, bodies, answers and time explain. */
  isFlooding(nowMs: number): boolean {
    let body = this.#bodyBytes
    for (const each of this.#bodies) body += each.bytes
    const allowed =
      burstBytes +
      this.#streams * this.#streamBytes +
      // DATA frames of a few bytes each are a way to write, if a poor one.
      body * 8 +
      // The other side grants windows for what it reads, at worst for every small frame.
      this.#socket.bytesWritten -
      this.#ackBytes +
      ((nowMs - this.#startedMs) / 1000) * bytesPerSecond
    return this.#socket.bytesRead > allowed
  }
}

/** Looks at the connections of one side, as long as there are any. */
export class FloodPatrol {
  readonly #onFlood: () => void
  readonly #watched: Map<FloodGauge, () => void> = new Map()
  #timer: NodeJS.Timeout | undefined

  /** `onFlood` is for counting. */
  constructor(onFlood: () => void) {
    this.#onFlood = onFlood
  }

  /** Calls `cut` once, when too much came; until `forget`. */
  watch(gauge: FloodGauge, cut: () => void): void {
    this.#watched.set(gauge, cut)
    this.#timer ??= setInterval(() => {
      this.#look()
    }, patrolMs).unref()
  }

  /** The connection has ended. */
  forget(gauge: FloodGauge): void {
    this.#watched.delete(gauge)
    if (this.#watched.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    const nowMs = performance.now()
    for (const [gauge, cut] of this.#watched) {
      if (!gauge.isFlooding(nowMs)) continue
      this.forget(gauge)
      this.#onFlood()
      cut()
    }
  }
}
