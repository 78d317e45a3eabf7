// SPDX-License-Identifier: Apache-2.0
// How many large deltas are on their way at once: each is in memory, as a whole, until its node has taken it.

/** Limits of deltas. */
export const deltaLimits = {
  /** A delta of more resources is large: about 100 kB. */
  smallResources: 1000,
  /** Large deltas on their way at once, over all streams. */
  largeDeltas: 8,
} as const

/** Permission to send a large delta. */
export interface Turn {
  /** False: it has to wait. */
  readonly isMine: boolean
  /** Gives it to the next, or stops waiting. May be called again. */
  release(): void
}

/** First come, first served. Who waits is a stream, so their number is bounded by that of the streams. */
export class Turns {
  readonly #limit: number
  readonly #waiting = new Set<() => void>()
  #taken = 0

  constructor(limit: number = deltaLimits.largeDeltas) {
    this.#limit = limit
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** A turn, at once or later: then `onMine` is called. */
  take(onMine: () => void): Turn {
    let state: 'waiting' | 'mine' | 'over' = 'waiting'
    const start = (): void => {
      state = 'mine'
      this.#taken++
    }
    const wake = (): void => {
      start()
      // Not from within the release of another: a chain of who no longer needs it would end the stack.
      queueMicrotask(() => {
        if (state === 'mine') onMine()
      })
    }
    if (this.#taken < this.#limit) start()
    else this.#waiting.add(wake)
    return {
      get isMine() {
        return state === 'mine'
      },
      release: () => {
        const wasMine = state === 'mine'
        state = 'over'
        this.#waiting.delete(wake)
        if (wasMine) this.#next()
      },
    }
  }

  #next(): void {
    this.#taken--
    const [wake] = this.#waiting
    if (wake === undefined) return
    this.#waiting.delete(wake)
    wake()
  }
}
