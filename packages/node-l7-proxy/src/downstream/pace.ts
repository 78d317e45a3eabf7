// SPDX-License-Identifier: Apache-2.0
/** Work that nobody waits for: a few pieces in each turn of the event loop, so that all others are served in between. */
export class Pace {
  readonly #perTurn: number
  #waiting: (() => void)[] = []
  #at = 0
  #running = false

  constructor(perTurn: number) {
    this.#perTurn = perTurn
  }

  /** What has not begun; whoever adds bounds it. */
  get waiting(): number {
    return this.#waiting.length - this.#at
  }

  add(piece: () => void): void {
    this.#waiting.push(piece)
    if (this.#running) return
    this.#running = true
    setImmediate(this.#turn)
  }

  /** Rescheduled before the work: an immediate that is set while immediates run belongs to the next turn. */
  readonly #turn = (): void => {
    const end = Math.min(this.#at + this.#perTurn, this.#waiting.length)
    const now = this.#waiting.slice(this.#at, end)
    this.#at = end
    if (this.waiting > 0) setImmediate(this.#turn)
    else {
      this.#running = false
      this.#waiting = []
      this.#at = 0
    }
    for (const piece of now) piece()
  }
}
