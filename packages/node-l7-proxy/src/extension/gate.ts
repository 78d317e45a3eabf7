// SPDX-License-Identifier: Apache-2.0
// Between an attempt and the way back, for services with filters only: while filters look at the head of an answer, what follows
// it waits here.
import type { Duplex } from 'node:stream'
import type { Attempt, AttemptSink } from '../attempt.ts'
import type { Exchange } from '../exchange.ts'
import type { Headers } from '../headers.ts'
import type { UpstreamFailure } from '../upstream/upstream.ts'

/**
 * The attempt is paused meanwhile, so that little waits: what had been read from the connection already, at most 64 KiB of
 * HTTP/1.1 or the window of an HTTP/2 stream.
 */
export class Gate implements AttemptSink {
  readonly #next: AttemptSink
  readonly #waiting: WeakMap<Attempt, (() => void)[]> = new WeakMap()

  constructor(next: AttemptSink) {
    this.#next = next
  }

  /** From here to open() nothing of the attempt reaches the way back. */
  close(attempt: Attempt): void {
    this.#waiting.set(attempt, [])
    attempt.pause()
  }

  open(attempt: Attempt): void {
    const events = this.#waiting.get(attempt) ?? []
    this.#waiting.delete(attempt)
    for (const event of events) event()
    // Unless the client is slow: then its own event resumes.
    if (attempt.exchange.responder.onDrain === undefined) attempt.resume()
  }

  informational(exchange: Exchange, status: number, headers: Headers): void {
    this.#next.informational(exchange, status, headers)
  }

  head(attempt: Attempt, status: number, headers: Headers, ended: boolean): void {
    this.#next.head(attempt, status, headers, ended)
  }

  tunnel(attempt: Attempt, headers: Headers, socket: Duplex, head: Buffer): void {
    this.#next.tunnel(attempt, headers, socket, head)
  }

  data(attempt: Attempt, chunk: Buffer): void {
    this.#later(attempt, () => {
      this.#next.data(attempt, chunk)
    })
  }

  end(attempt: Attempt, trailers: Headers | undefined): void {
    this.#later(attempt, () => {
      this.#next.end(attempt, trailers)
    })
  }

  failed(attempt: Attempt, failure: UpstreamFailure): void {
    this.#later(attempt, () => {
      this.#next.failed(attempt, failure)
    })
  }

  timedOut(attempt: Attempt): void {
    this.#later(attempt, () => {
      this.#next.timedOut(attempt)
    })
  }

  #later(attempt: Attempt, event: () => void): void {
    const events = this.#waiting.get(attempt)
    if (events === undefined) event()
    else events.push(event)
  }
}
