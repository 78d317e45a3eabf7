// SPDX-License-Identifier: Apache-2.0
// gRPC messages of one direction, counted by the prefix that each begins with (PROTOCOL-HTTP2, Length-Prefixed-Message: one
// byte of flags, four of length). Nothing is decoded or kept; what is no gRPC counts something, and does no harm.
import type { BodyTap } from '../body.ts'

const prefixBytes = 5

export class MessageCounter implements BodyTap {
  /** Messages whose prefix has come. */
  count = 0
  /** Bytes of the current message that are still to come. */
  #left = 0
  /** Bytes of the next prefix that came with earlier chunks, and the length that they say so far. */
  #begun = 0
  #length = 0

  data(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at)
        this.#left -= step
        at += step
      } else if (this.#begun === 0 && chunk.length - at >= prefixBytes) {
        this.#begin(chunk.readUInt32BE(at + 1))
        at += prefixBytes
      } else this.#part(chunk[at++] ?? 0)
    }
  }

  end(): void {
    // What is not complete was counted when it began.
  }

  /** A prefix that is split between chunks. */
  #part(byte: number): void {
    if (this.#begun > 0) this.#length = this.#length * 256 + byte
    this.#begun++
    if (this.#begun === prefixBytes) this.#begin(this.#length)
  }

  #begin(length: number): void {
    this.count++
    this.#left = length
    this.#begun = 0
    this.#length = 0
  }
}
