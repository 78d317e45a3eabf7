// SPDX-License-Identifier: Apache-2.0
/** Bounds how long a client may leave an answer unread: what waits for it holds memory, a request and an endpoint. */
export class StallTimer {
  readonly #limitMs: number
  readonly #onStall: () => void
  #timer: NodeJS.Timeout | undefined

  /** 0: no bound. Clear it when the answer is over. */
  constructor(limitMs: number, onStall: () => void) {
    this.#limitMs = limitMs
    this.#onStall = onStall
  }

  /** The client does not take any more for now. */
  start(): void {
    if (this.#limitMs > 0) this.#timer ??= setTimeout(this.#onStall, this.#limitMs)
  }

  /** It took some, or it is over. */
  clear(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
