// SPDX-License-Identifier: Apache-2.0
// What became of requests of one kind, and differences between two looks.

export type Tallies = Record<string, Tally>

/** Different reasons that are told apart. */
const maxReasons = 20

export class Tally {
  requests = 0
  failed = 0
  /** Failures by what was said, and when the last one was. */
  reasons: Record<string, number> = {}
  /** The longest request since the last look. */
  worstMs = 0

  /** One request that must be answered with its own body. */
  async run(body: string, ask: (body: string) => Promise<string>): Promise<void> {
    const startMs = performance.now()
    try {
      const answer = await ask(body)
      if (answer !== body) this.#fail(`another answer: ${answer.slice(0, 80)}`)
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error))
      await new Promise((resolve) => setTimeout(resolve, 10)) // a broken path is not hammered
    }
    this.requests++
    this.worstMs = Math.max(this.worstMs, performance.now() - startMs)
  }

  #fail(reason: string): void {
    this.failed++
    const known = reason in this.reasons || Object.keys(this.reasons).length < maxReasons
    const key = known ? reason : 'others'
    this.reasons[key] = (this.reasons[key] ?? 0) + 1
  }
}
