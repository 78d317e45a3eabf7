// SPDX-License-Identifier: Apache-2.0
// Retry budget (GEP-3388): over `intervalMs`, retries may be `percent` of the requests; `minRetries` per `minIntervalMs`
// are free. One budget a service, over all routes and clients of this node.
import type { BudgetRule } from '../route/table.ts'

const slots = 10

/** Sum over a sliding window of ten slots. */
class Window {
  readonly #counts: Float64Array = new Float64Array(slots)
  readonly #slotMs: number
  #slot = 0
  #sum = 0

  constructor(intervalMs: number) {
    this.#slotMs = Math.max(1, intervalMs / slots)
  }

  add(nowMs: number): void {
    this.#advance(nowMs)
    const at = this.#slot % slots
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#sum++
  }

  sum(nowMs: number): number {
    this.#advance(nowMs)
    return this.#sum
  }

  #advance(nowMs: number): void {
    const slot = Math.floor(nowMs / this.#slotMs)
    if (slot === this.#slot) return
    const steps = Math.min(slots, slot - this.#slot)
    for (let i = 1; i <= steps; i++) {
      const at = (this.#slot + i) % slots
      this.#sum -= this.#counts[at] ?? 0
      this.#counts[at] = 0
    }
    // After a gap the ring's positions must still be those of `slot`.
    if (slot - this.#slot > slots) this.#counts.fill(0)
    this.#slot = slot
  }
}

export class RetryBudget {
  #rule: BudgetRule
  #requests: Window
  #retries: Window
  #free: Window

  constructor(rule: BudgetRule) {
    this.#rule = rule
    this.#requests = new Window(rule.intervalMs)
    this.#retries = new Window(rule.intervalMs)
    this.#free = new Window(rule.minIntervalMs)
  }

  /** A new rule of the same service; the windows start anew only when their lengths changed. */
  update(rule: BudgetRule): void {
    const old = this.#rule
    this.#rule = rule
    if (old.intervalMs !== rule.intervalMs) {
      this.#requests = new Window(rule.intervalMs)
      this.#retries = new Window(rule.intervalMs)
    }
    if (old.minIntervalMs !== rule.minIntervalMs)
      this.#free = new Window(rule.minIntervalMs)
  }

  /** A request came in. */
  request(nowMs: number): void {
    this.#requests.add(nowMs)
  }

  /** Takes one retry out of the budget; false: used up, the client gets 503. */
  take(nowMs: number): boolean {
    const allowed =
      this.#free.sum(nowMs) < this.#rule.minRetries ||
      this.#retries.sum(nowMs) < (this.#requests.sum(nowMs) * this.#rule.percent) / 100
    if (!allowed) return false
    this.#free.add(nowMs)
    this.#retries.add(nowMs)
    return true
  }
}
