// SPDX-License-Identifier: Apache-2.0
// What must survive a restart of the operator: the numbers that nodes hold, and the last good version of what is broken. Without it a restarted operator would give pods other
// identities than the kernels know them by.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { emptyPools, type Pools } from '../compile/compile.ts'
import type { Pool } from '../compile/pool.ts'
import { errnoOf, messageOf, OperatorError } from '../errors.ts'
import type { LastGood } from '../watch/files.ts'

const fileName = '.numbers.json'
const ids = z.record(z.string(), z.int().min(1).max(0xffffffff))
const pool = z.object({ next: z.int().min(1), live: ids, retired: ids })
const schema = z.object({ identities: pool, servicePorts: pool, rules: pool })

export class NumberStore {
  readonly #path: string
  #saved: Pools | undefined

  constructor(dir: string) {
    this.#path = join(dir, fileName)
  }

  /** Throws an OperatorError `STATE` on a file that cannot be used: guessing would renumber every pod. */
  load(): Pools {
    let text: string
    try {
      text = readFileSync(this.#path, 'utf8')
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return emptyPools()
      throw this.#error(error)
    }
    try {
      const { identities, servicePorts, rules } = schema.parse(JSON.parse(text))
      const pools = {
        identities: toPool(identities),
        servicePorts: toPool(servicePorts),
        rules: toPool(rules),
      }
      this.#saved = pools
      return pools
    } catch (error) {
      throw this.#error(error)
    }
  }

  /** Writes the pools if they changed: before nodes see the numbers. O(cluster) when they did. */
  save(pools: Pools): void {
    const saved = this.#saved
    if (
      saved?.identities === pools.identities &&
      saved.servicePorts === pools.servicePorts &&
      saved.rules === pools.rules
    ) {
      return
    }
    const text = JSON.stringify({
      identities: fromPool(pools.identities),
      servicePorts: fromPool(pools.servicePorts),
      rules: fromPool(pools.rules),
    })
    try {
      mkdirSync(dirname(this.#path), { recursive: true })
      writeFileSync(`${this.#path}.tmp`, text)
      renameSync(`${this.#path}.tmp`, this.#path)
    } catch (error) {
      throw this.#error(error)
    }
    this.#saved = pools
  }

  #error(cause: unknown): OperatorError {
    const message = `${this.#path}: ${messageOf(cause)}; repair it, or remove it to number everything anew`
    return new OperatorError('STATE', message, { cause })
  }
}

function toPool({ next, live, retired }: z.output<typeof pool>): Pool {
  return {
    next,
    live: new Map(Object.entries(live)),
    retired: new Map(Object.entries(retired)),
  }
}

function fromPool({ next, live, retired }: Pool): z.input<typeof pool> {
  return { next, live: Object.fromEntries(live), retired: Object.fromEntries(retired) }
}

const lastGoodName = '.last-good.json'
const rawObject = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
})
const lastGoodSchema = z.array(z.object({ path: z.string(), raw: rawObject }))

/** The last good versions of objects whose files are broken now; an empty list removes the file. */
export class LastGoodStore {
  readonly #path: string
  #saved = '[]'

  constructor(dir: string) {
    this.#path = join(dir, lastGoodName)
  }

  /** A file that cannot be used is as good as none: it only ever bridges broken manifests. */
  load(): LastGood[] {
    try {
      this.#saved = readFileSync(this.#path, 'utf8')
      return lastGoodSchema.parse(JSON.parse(this.#saved)) as LastGood[]
    } catch {
      this.#saved = '[]'
      return []
    }
  }

  /** Writes if something changed; a full disk costs the memory of the next restart, not the running configuration. */
  save(objects: readonly LastGood[]): void {
    const text = JSON.stringify(objects)
    if (text === this.#saved) return
    try {
      if (objects.length === 0) rmSync(this.#path, { force: true })
      else {
        writeFileSync(`${this.#path}.tmp`, text)
        renameSync(`${this.#path}.tmp`, this.#path)
      }
      this.#saved = text
    } catch {
      // Tried again with the next change.
    }
  }
}
