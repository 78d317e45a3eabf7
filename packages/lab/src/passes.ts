// SPDX-License-Identifier: Apache-2.0
// One pass at a time over everything: what a controller is.
import { messageOf } from './errors.ts'

export interface PassesOptions {
  /** What the log calls it. */
  readonly name: string
  /** Looks at everything as it is now. May throw: it is tried again. */
  readonly pass: () => Promise<void>
  readonly retryMs: number
  readonly log: (message: string) => void
}

export class Passes {
  readonly #options: PassesOptions
  #running = false
  #again = false
  #closed = false
  #retry: NodeJS.Timeout | undefined

  constructor(options: PassesOptions) {
    this.#options = options
  }

  /**
   * A pass that begins after this call. However often it is called while a pass runs, one more follows. Resolves when none is
   * left to do, or at once when another caller's run will do it. Never rejects: a failure is logged and tried again.
   */
  async run(): Promise<void> {
    this.#again = true
    if (this.#running) return
    this.#running = true
    try {
      while (this.#again && !this.#closed) {
        this.#again = false
        await this.#options.pass()
      }
    } catch (error) {
      this.#retryLater(error)
    } finally {
      this.#running = false
    }
  }

  /** No pass begins any more. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
  }

  #retryLater(error: unknown): void {
    if (this.#closed) return
    const { name, retryMs, log } = this.#options
    log(`${name}: ${messageOf(error)}; next try in ${retryMs} ms`)
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => void this.run(), retryMs)
    this.#retry.unref()
  }
}
