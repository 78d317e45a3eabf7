// SPDX-License-Identifier: Apache-2.0
// Secrets of filters: files of one directory, as a Secret is mounted. Read in the filter's own thread, which nobody else waits for.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Names of keys of a Secret (core/v1), and neither "." nor "..", which a mount keeps for itself. */
const plainName = /^(?!\.\.?$)(?!\.\.data$)[A-Za-z0-9._-]{1,253}$/
/** How long what was read is used: a Secret that changes reaches a node after a minute anyway. */
const freshMs = 5000
const maxKept = 64

export class Secrets {
  readonly #directory: string
  readonly #kept: Map<string, { readonly atMs: number; readonly content: Uint8Array }> =
    new Map()

  /** '': every name is an error. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** Throws a TypeError for a name, and the error of the file system for a file, that cannot be read. */
  read(name: string, nowMs: number): Uint8Array {
    if (typeof name !== 'string' || !plainName.test(name))
      throw new TypeError(`${JSON.stringify(name)} is not the name of a secret`)
    if (this.#directory === '')
      throw new TypeError(`secret ${name}: the proxy has no --filter-secrets-dir`)
    const kept = this.#kept.get(name)
    if (kept !== undefined && nowMs - kept.atMs < freshMs) return kept.content
    const content = new Uint8Array(readFileSync(join(this.#directory, name)))
    this.#kept.delete(name)
    this.#kept.set(name, { atMs: nowMs, content })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > maxKept && oldest !== undefined) this.#kept.delete(oldest)
    return content
  }
}
