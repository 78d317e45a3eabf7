// SPDX-License-Identifier: Apache-2.0
// Peak EWMA: an endpoint costs what it answers in, times what it is busy with. A slower answer counts at once and in full,
// a faster one little by little: who became slow is avoided before others have found out, and comes back carefully.
import type { Balancer } from './balancer.ts'
import { cheaperOfTwo } from './p2c.ts'

/** Time in which an old observation falls to 1/e. */
const decayMs = 10_000

/** Of an endpoint that has never answered: it is tried, but not by everybody at once. */
const unknownMs = 30

/** Latency of one endpoint, from the start of an attempt to the head of its answer. */
export class Latency {
  #ms = unknownMs
  #seenMs: number

  /** `nowMs` is monotonic, here and below. */
  constructor(nowMs: number) {
    this.#seenMs = nowMs
  }

  /** An answer. A failure never makes an endpoint look fast. */
  observe(ms: number, failed: boolean, nowMs: number): void {
    if (ms > this.at(nowMs)) this.#ms = ms
    else if (!failed) this.#ms = ms + (this.#ms - ms) * this.#kept(nowMs)
    this.#seenMs = nowMs
  }

  /** What is expected now, milliseconds. It falls while nothing is seen, so that who was slow is tried again. */
  at(nowMs: number): number {
    return this.#ms * this.#kept(nowMs)
  }

  #kept(nowMs: number): number {
    return Math.exp((this.#seenMs - nowMs) / decayMs)
  }
}

/** `now` is a monotonic clock, milliseconds. */
export function peakEwma(now: () => number): Balancer {
  return cheaperOfTwo(({ latency, active }) => (latency.at(now()) + 0.1) * (active + 1))
}
