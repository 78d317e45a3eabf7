// SPDX-License-Identifier: Apache-2.0
// Floods of frames that carry no request: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, unknown types, CONTINUATION
// without an end. node shows few of them one by one, and does not need to: all of them are bytes that a connection sends and
// that become neither headers nor bodies. (nghttp2 itself bounds resets, CONTINUATION frames and unanswered control frames.)
import type { Socket } from 'node:net'
import type { RequestBody } from '../body.ts'

/** Free for everybody: windows of data that nobody has read yet are among it. */
const burstBytes = 2_097_152
/** What the header of a stream may take. */
const streamBytes = 16_384
/** Keep-alive, window updates, chatter. */
const bytesPerSecond = 65_536

/** What one downstream connection was good for. */
export class FloodGauge {
  readonly #socket: Socket
  readonly #startedMs: number
  readonly #bodies: Set<RequestBody> = new Set()
  #streams = 0
  #bodyBytes = 0

  constructor(socket: Socket, nowMs: number) {
    this.#socket = socket
    this.#startedMs = nowMs
  }

  /** A request came; call the result at its end. */
  open(body: RequestBody | undefined): () => void {
    this.#streams++
    if (body === undefined) return () => undefined
    this.#bodies.add(body)
    return () => {
      if (this.#bodies.delete(body)) this.#bodyBytes += body.bytes
    }
  }

  /** True when more came than requests, bodies, answers and time explain. */
  isFlooding(nowMs: number): boolean {
    let body = this.#bodyBytes
    for (const each of this.#bodies) body += each.bytes
    const allowed =
      burstBytes +
      this.#streams * streamBytes +
      // DATA frames of a few bytes each are a way to write, if a poor one.
      body * 8 +
      // A client grants windows for what it reads, at worst for every small frame.
      this.#socket.bytesWritten +
      ((nowMs - this.#startedMs) / 1000) * bytesPerSecond
    return this.#socket.bytesRead > allowed
  }
}
