// SPDX-License-Identifier: Apache-2.0
// The body of a request on its way to one or, with retries, several attempts.
import { Readable } from 'node:stream'
import type { ReplayRoom } from './downstream/quota.ts'
import type { Headers } from './headers.ts'

/** Someone else who hears what comes, and cannot hold it up. After a body that never ends `end` is not called. */
export type BodyTap = { data(chunk: Buffer): void; end(): void }

/**
 * Streams a downstream body with back-pressure. The first `replayBytes` are kept, so that a second attempt can read from
 * the beginning; a body that grows beyond them can be read only once. As long as it comes it has one reader; what is there
 * to the end and kept can be read by several at a time, each at its own pace.
 */
export class RequestBody {
  readonly #source: Readable
  readonly #replayBytes: number
  readonly #readTrailers: () => Headers | undefined
  readonly #room: ReplayRoom
  /** Of the room. */
  #kept = 0
  #chunks: Buffer[] = []
  #ended = false
  /** Reads on though no attempt asks; see gather(). */
  #gathering = false
  /** One at most until the end. */
  #readers: AttemptBody[] = []
  readonly #taps: BodyTap[] = []
  /** Bytes that came from downstream. */
  bytes = 0
  /** False once a byte was given out that is not kept. */
  replayable = true
  /** What Content-Length says; undefined: chunked, or HTTP/2 without it. */
  readonly length: number | undefined

  /** `room`: shared with other bodies; without room this one is sent once. `readTrailers` is asked after the end. */
  constructor(
    source: Readable,
    length: number | undefined,
    replayBytes: number,
    room: ReplayRoom,
    readTrailers: () => Headers | undefined,
  ) {
    this.#source = source
    this.length = length
    this.#replayBytes = length !== undefined && length > replayBytes ? 0 : replayBytes
    this.#readTrailers = readTrailers
    this.#room = room
    source.pause()
    source.on('data', (chunk: Buffer) => {
      this.#onData(chunk)
    })
    source.on('end', () => {
      this.#ended = true
      for (const reader of [...this.#readers]) this.pull(reader)
      for (const tap of this.#taps) tap.end()
    })
    source.on('error', (error) => {
      for (const reader of [...this.#readers]) reader.destroy(error)
    })
  }

  /** `tap` hears every byte from now on; the whole body when nothing was opened yet. */
  tap(tap: BodyTap): void {
    this.#taps.push(tap)
  }

  get trailers(): Headers | undefined {
    return this.#readTrailers()
  }

  /** All of it came. */
  get ended(): boolean {
    return this.#ended
  }

  /** Bytes that came and that no endpoint has taken, or that are kept for another one. */
  get held(): number {
    let read = this.#kept
    // While chunks are kept, readers have the same ones.
    if (!this.replayable)
      for (const reader of this.#readers) read += reader.readableLength
    return this.#source.readableLength + read
  }

  /**
   * A stream of the whole body for one attempt. While the body still comes the one before ends here. Call only while
   * `replayable`.
   */
  open(): Readable {
    if (!this.#ended) this.#release()
    const reader = new AttemptBody(this)
    this.#readers.push(reader)
    return reader
  }

  /**
   * Reads on as far as it is kept, whatever its attempt takes: another one may need it while the first is stuck. What does
   * not fit is left where it is, until an attempt asks for it.
   */
  gather(): void {
    if (this.#ended || !this.replayable) return
    this.#gathering = true
    this.#source.resume()
  }

  /** Reads the rest and drops it, so that the next request of the connection can come. */
  discard(): void {
    this.#gathering = false
    this.#release()
    this.#forget()
    this.#source.resume()
  }

  /** The stream of an attempt wants more. */
  pull(reader: AttemptBody): void {
    if (!this.#readers.includes(reader)) return
    while (reader.next < this.#chunks.length) {
      const chunk = this.#chunks[reader.next++]
      if (!reader.push(chunk)) return
    }
    if (this.#ended) reader.push(null)
    else this.#source.resume()
  }

  /** The stream of an attempt is over. */
  detach(reader: AttemptBody): void {
    const at = this.#readers.indexOf(reader)
    if (at < 0) return
    this.#readers.splice(at, 1)
    if (!this.#ended && !this.#gathering) this.#source.pause()
  }

  #release(): void {
    const readers = this.#readers
    this.#readers = []
    for (const reader of readers) reader.destroy()
    if (readers.length > 0 && !this.#ended && !this.#gathering) this.#source.pause()
  }

  /** From here on nothing is kept; what the reader has not got of what was kept, it gets first. */
  #sendOnce(reader: AttemptBody | undefined): void {
    if (reader !== undefined)
      while (reader.next < this.#chunks.length) reader.push(this.#chunks[reader.next++])
    this.#forget()
  }

  #forget(): void {
    this.replayable = false
    this.#chunks = []
    if (this.#kept > 0) this.#room.give(this.#kept)
    this.#kept = 0
  }

  #onData(chunk: Buffer): void {
    const reader = this.#readers[0]
    const keep = this.#keeps(chunk)
    if (!keep && this.#gathering) {
      this.#gathering = false
      if (reader === undefined) {
        // Nobody has asked for it yet, and what is given out now is lost to a later one.
        this.#source.pause()
        this.#source.unshift(chunk)
        return
      }
    }
    this.bytes += chunk.length
    for (const tap of this.#taps) tap.data(chunk)
    if (keep) {
      this.#kept += chunk.length
      this.#chunks.push(chunk)
      // A reader that is behind gets this chunk from the list, in order.
      if (reader === undefined || reader.next !== this.#chunks.length - 1) return
      reader.next++
    } else if (this.replayable) {
      this.#sendOnce(reader)
    }
    if (reader !== undefined && !reader.push(chunk) && !this.#gathering)
      this.#source.pause()
  }

  #keeps(chunk: Buffer): boolean {
    const fits = this.bytes + chunk.length <= this.#replayBytes
    return this.replayable && fits && this.#room.take(chunk.length)
  }
}

/** One attempt's view of a body. */
class AttemptBody extends Readable {
  readonly #body: RequestBody
  /** Index of the kept chunk to give out next. */
  next = 0

  constructor(body: RequestBody) {
    super({ highWaterMark: 65_536 })
    this.#body = body
  }

  override _read(): void {
    this.#body.pull(this)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#body.detach(this)
    callback(error)
  }
}
