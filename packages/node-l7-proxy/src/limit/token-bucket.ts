// SPDX-License-Identifier: Apache-2.0

/** How a bucket fills: `requests` in `intervalMs`, up to `burst`. */
export type Rate = {
  readonly requests: number
  readonly intervalMs: number
  readonly burst: number
}

/** A token bucket without a timer: what has flown in is counted when somebody looks. `nowMs` is monotonic. */
export class TokenBucket {
  #tokens: number
  #atMs: number

  /** Full: silence before the first request was silence. */
  constructor(rate: Rate, nowMs: number) {
    this.#tokens = rate.burst
    this.#atMs = nowMs
  }

  /** Milliseconds until there is a token; 0: there is one. */
  waitMs(rate: Rate, nowMs: number): number {
    const perMs = rate.requests / rate.intervalMs
    const flown = Math.max(0, nowMs - this.#atMs) * perMs
    this.#tokens = Math.min(rate.burst, this.#tokens + flown)
    this.#atMs = nowMs
    // Sums of fractions miss the whole number by a little.
    return this.#tokens > 1 - 1e-9 ? 0 : (1 - this.#tokens) / perMs
  }

  /** Takes the token that waitMs() said is there. */
  take(): void {
    this.#tokens = Math.max(0, this.#tokens - 1)
  }
}
