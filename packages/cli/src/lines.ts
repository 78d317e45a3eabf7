// SPDX-License-Identifier: Apache-2.0
// Bytes that come in parts -> lines.
import { StringDecoder } from 'node:string_decoder'

/** Longer lines are cut: nothing that is printed by our processes is. */
const maxLineLength = 1024 * 1024

export class Lines {
  readonly #decoder = new StringDecoder('utf8')
  readonly #onLine: (line: string) => void
  #pending = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  /** Hands on every line that `part` ends; empty ones are left out. A last line without an end is not one. */
  take(part: Uint8Array): void {
    const lines = (this.#pending + this.#decoder.write(part)).split('\n')
    this.#pending = (lines.pop() ?? '').slice(0, maxLineLength)
    for (const line of lines) if (line !== '') this.#onLine(line)
  }
}
