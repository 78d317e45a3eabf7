// SPDX-License-Identifier: Apache-2.0
// Silence on an HTTP/2 connection. Not session.setTimeout(): node marks a session as destroyed before it would clear that timer,
// which then keeps the session, 5 KiB of it, until the time is over: an hour, for connections that lasted a millisecond.

/** How many times a silence is looked for before it is complete. */
const looks = 4

export class IdleTimer {
  readonly #timer: NodeJS.Timeout
  #traffic: number
  #silent = 0

  /** `traffic` is any number that changes with what the connection carries; `onIdle` comes again after every further silence. */
  constructor(traffic: () => number, idleMs: number, onIdle: () => void) {
    this.#traffic = traffic()
    this.#timer = setInterval(
      () => {
        const now = traffic()
        this.#silent = now === this.#traffic ? this.#silent + 1 : 0
        this.#traffic = now
        if (this.#silent < looks) return
        this.#silent = 0
        onIdle()
      },
      Math.max(1, idleMs / looks),
    )
    this.#timer.unref()
  }

  /** The connection has ended. */
  clear(): void {
    clearInterval(this.#timer)
  }
}
