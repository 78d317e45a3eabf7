// SPDX-License-Identifier: Apache-2.0
// The last good configuration on disk, so that the agent works while the operator is away. One protobuf Delta with full =
// true, replaced atomically. It is written in chunks: encoding 50 000 endpoints at once would hold up everything else.
import { mkdirSync, readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import {
  applyDelta,
  Delta,
  emptyResources,
  kinds,
  type Resource,
  type Resources,
} from '@pillion/contract'
import { AgentError, errnoOf, messageOf } from './errors.ts'

const chunkResources = 500
/** After a write it rests for as many times as long as the write took: at most a tenth of a CPU goes into saving. */
const restShare = 9

export class Store {
  readonly #file: string
  readonly #delayMs: number
  readonly #onError: (error: unknown) => void
  #wanted: Resources | undefined
  #timer: NodeJS.Timeout | undefined
  /** Before then, by performance.now(), no save begins by itself. */
  #restsUntil = 0
  #writing: Promise<void> = Promise.resolve()

  /** Makes the directory. `delayMs`: a burst of changes is saved once. */
  constructor(dir: string, delayMs: number, onError: (error: unknown) => void) {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    this.#file = join(dir, 'resources.pb')
    this.#delayMs = delayMs
    this.#onError = onError
  }

  /** What was saved last; undefined when nothing was. Throws AgentError STATE when it is damaged. */
  load(): Resources | undefined {
    try {
      return applyDelta(emptyResources(), Delta.decode(readFileSync(this.#file)))
        .resources
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return undefined
      throw new AgentError(
        'STATE',
        `${this.#file} cannot be read: ${messageOf(cause)}; remove it`,
        { cause },
      )
    }
  }

  /** Saves soon; what fails is reported to onError. */
  save(resources: Resources): void {
    this.#wanted = resources
    const restMs = this.#restsUntil - performance.now()
    this.#timer ??= setTimeout(
      () => {
        void this.flush()
      },
      Math.max(this.#delayMs, restMs),
    )
  }

  /** Saves now what is waiting; resolves when it is on disk. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const resources = this.#wanted
    this.#wanted = undefined
    if (resources !== undefined) {
      this.#writing = this.#writing
        .then(() => this.#write(resources))
        .catch(this.#onError)
    }
    return this.#writing
  }

  async #write(resources: Resources): Promise<void> {
    const started = performance.now()
    const temporary = `${this.#file}.new`
    const file = await open(temporary, 'w', 0o600)
    try {
      // Messages written one after the other are one message: repeated fields are joined (protobuf encoding).
      await file.write(Delta.encode(Delta.fromPartial({ full: true })).finish())
      let upserts: Resource[] = []
      for (const kind of kinds) {
        for (const [name, value] of resources[kind]) {
          upserts.push({ name, body: { $case: kind, value } as Resource['body'] })
          if (upserts.length < chunkResources) continue
          await file.write(Delta.encode(Delta.fromPartial({ upserts })).finish())
          upserts = []
        }
      }
      await file.write(Delta.encode(Delta.fromPartial({ upserts })).finish())
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, this.#file)
    const ended = performance.now()
    this.#restsUntil = ended + (ended - started) * restShare
  }
}
