// SPDX-License-Identifier: Apache-2.0
import { TokenBucket } from '../limit/token-bucket.ts'

/** Lines of a filter, in either thread. */
const rate = { requests: 10, intervalMs: 1000, burst: 20 }
const maxTextLength = 1000

/** Lets so many lines through that nobody's loop fills a disk, and counts the others. */
export class SlowLog {
  readonly #bucket: TokenBucket = new TokenBucket(rate, performance.now())
  #dropped = 0

  /** Calls `write` with the text, cut to its bound, and with how many lines were left out before; or leaves it out. */
  tell(text: string, write: (text: string, dropped: number) => void): void {
    if (this.#bucket.waitMs(rate, performance.now()) > 0) {
      this.#dropped++
      return
    }
    this.#bucket.take()
    write(text.slice(0, maxTextLength), this.#dropped)
    this.#dropped = 0
  }
}
