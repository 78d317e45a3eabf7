// SPDX-License-Identifier: Apache-2.0
// The directory of filters: which files it has and which version that is. It is read again and again instead of watched: that
// works on every file system, sees the symbolic link that the kubelet swaps when a ConfigMap changes, and costs little for a few
// small files.
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { errnoOf } from '../errors.ts'

/** In the order in which one is preferred to another of the same name. */
const extensions = ['.ts', '.mts', '.mjs', '.js'] as const

export const maxFiles = 64
/** As much as a ConfigMap can have. */
export const maxFileBytes = 1_048_576

export type CodeFiles = {
  /** Of the contents of all files: a filter may import another file. */
  readonly version: string
  /** URLs by the name of a filter. */
  readonly files: ReadonlyMap<string, string>
}

/** Reads a directory's code, contents only when something looks different from the last time. */
export class CodeDirectory {
  readonly #path: string
  #signature = ''
  #found: CodeFiles = { version: '', files: new Map() }

  constructor(path: string) {
    this.#path = path
  }

  /** The code as it is now; the same object as before when nothing has changed. Throws when it cannot be read or is too much. */
  async read(): Promise<CodeFiles> {
    const all = (await readdir(this.#path))
      .filter((name) => extensions.some((extension) => name.endsWith(extension)))
      .sort()
    const names: string[] = []
    const facts: string[] = []
    for (const name of all.slice(0, maxFiles + 1)) {
      const fact = await this.#fact(name)
      if (fact === undefined) continue
      names.push(name)
      facts.push(fact)
    }
    if (names.length > maxFiles)
      throw new TypeError(`${this.#path} has more than ${maxFiles} files`)
    const signature = facts.join('\n')
    if (signature === this.#signature) return this.#found
    const hash = createHash('sha256')
    for (const name of names) {
      const content = await readFile(join(this.#path, name))
      hash.update(`${name} ${content.length}\n`).update(content)
    }
    const version = hash.digest('hex').slice(0, 12)
    this.#signature = signature
    if (version !== this.#found.version)
      this.#found = { version, files: this.#urls(names) }
    return this.#found
  }

  /** undefined: it has gone meanwhile, or the link leads nowhere. */
  async #fact(name: string): Promise<string | undefined> {
    const found = await stat(join(this.#path, name)).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw error
    })
    if (found === undefined) return undefined
    const { dev, ino, size, mtimeMs, ctimeMs } = found
    if (size > maxFileBytes)
      throw new TypeError(
        `${join(this.#path, name)} has ${size} bytes, at most ${maxFileBytes}`,
      )
    return [name, dev, ino, size, mtimeMs, ctimeMs].join(' ')
  }

  #urls(names: readonly string[]): Map<string, string> {
    const files = new Map<string, string>()
    for (const extension of extensions.toReversed()) {
      for (const name of names) {
        if (extname(name) !== extension) continue
        const { href } = pathToFileURL(join(this.#path, name))
        files.set(name.slice(0, -extension.length), href)
      }
    }
    return files
  }
}
