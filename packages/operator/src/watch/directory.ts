// SPDX-License-Identifier: Apache-2.0
// The directory source: YAML and JSON files anywhere below a directory, followed with inotify (one watch a directory).
//
// Not fs.watch's own `recursive`: on Linux it adds a watch for every file, and walks a new directory without saying when it
// has. Here a directory is scanned after its watch exists, so nothing falls between the two.
import { watch, type FSWatcher } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { isManifest } from '../api/manifest.ts'
import { errnoOf, messageOf, OperatorError } from '../errors.ts'
import { Files, type LastGood } from './files.ts'
import type { Source, SourceChange } from './source.ts'

export interface DirectoryOptions {
  readonly dir: string
  /** Directory below `dir` that is not read: where status is written. */
  readonly ignore?: string
  readonly debounceMs: number
  readonly rescanMs: number
  readonly maxFileBytes: number
  /** Where objects are kept that are in force although their file is broken: a restart must not withdraw them. */
  readonly lastGood?: { load(): LastGood[]; save(objects: readonly LastGood[]): void }
}

export class DirectorySource implements Source {
  readonly #options: DirectoryOptions
  readonly #root: string
  readonly #files = new Files()
  /** By directory; the inode tells a directory that was made again from the one that is watched. */
  readonly #watchers = new Map<string, { watcher: FSWatcher; ino: number }>()
  /** Size and time of what was read, by path: an unchanged file is not read again. */
  readonly #stamps = new Map<string, string>()
  readonly #dirty = new Set<string>()
  #onChange: ((change: SourceChange) => void | Promise<void>) | undefined
  #debounce: NodeJS.Timeout | undefined
  #rescan: NodeJS.Timeout | undefined
  #working: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: DirectoryOptions) {
    this.#options = options
    this.#root = resolve(options.dir)
  }

  /** Throws an OperatorError `SOURCE` when the directory itself cannot be read. */
  async start(onChange: (change: SourceChange) => void | Promise<void>): Promise<void> {
    try {
      if (!(await stat(this.#root)).isDirectory()) throw new TypeError('not a directory')
    } catch (error) {
      const message = `${this.#root}: ${messageOf(error)}; --dir must name a directory of manifests`
      throw new OperatorError('SOURCE', message, { cause: error })
    }
    this.#onChange = onChange
    const lastGood = this.#options.lastGood?.load() ?? []
    this.#files.seed(lastGood)
    // Known but never read: a file that is gone by now is noticed as gone.
    for (const { path } of lastGood) this.#stamps.set(join(this.#root, path), '')
    await this.#process(new Set([this.#root]), true)
    this.#rescan = setInterval(() => this.#mark(this.#root), this.#options.rescanMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#debounce)
    clearInterval(this.#rescan)
    for (const { watcher } of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
    await this.#working
  }

  #mark(path: string): void {
    if (this.#closed) return
    this.#dirty.add(path)
    // From the first change on, not from the last: a steady writer must not starve everybody.
    this.#debounce ??= setTimeout(() => {
      this.#working = this.#working.then(() => this.#flush())
    }, this.#options.debounceMs)
  }

  async #flush(): Promise<void> {
    this.#debounce = undefined
    const dirty = new Set(this.#dirty)
    this.#dirty.clear()
    if (!this.#closed) await this.#process(dirty, false)
  }

  async #process(dirty: ReadonlySet<string>, always: boolean): Promise<void> {
    const texts = new Map<string, string | undefined>()
    let failed: SourceChange | undefined
    for (const path of dirty) {
      for (const file of await this.#look(path)) {
        try {
          const text = await this.#read(file)
          if (text !== 'unchanged') texts.set(this.#name(file), text?.text)
        } catch (error) {
          failed = this.#files.fail(this.#name(file), messageOf(error))
        }
      }
    }
    if (!always && texts.size === 0 && failed === undefined) return
    const change = this.#files.update(texts)
    this.#options.lastGood?.save(this.#files.heldBack())
    await this.#onChange?.(change)
  }

  /** Files that a dirty path stands for. A directory: all in it, also those that were there before. */
  async #look(path: string): Promise<string[]> {
    const known = [...this.#stamps.keys()].filter(
      (file) => file === path || file.startsWith(path + sep),
    )
    const found = await this.#scan(path)
    return [...new Set([...known, ...found])].sort()
  }

  async #scan(path: string): Promise<string[]> {
    if (this.#options.ignore !== undefined && resolve(this.#options.ignore) === path)
      return []
    const stats = await stat(path).catch(() => undefined)
    if (stats === undefined) {
      this.#unwatch(path)
      return []
    }
    if (!stats.isDirectory())
      return isManifest(path.slice(path.lastIndexOf(sep) + 1)) ? [path] : []
    this.#watch(path, stats.ino)
    const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
    const found = await Promise.all(
      entries.map(async (entry) => {
        const child = join(path, entry.name)
        if (!entry.isDirectory()) return isManifest(entry.name) ? [child] : []
        return /^(\.|node_modules$)/.test(entry.name) ? [] : this.#scan(child)
      }),
    )
    return found.flat()
  }

  #watch(dir: string, ino: number): void {
    if (this.#closed || this.#watchers.get(dir)?.ino === ino) return
    this.#unwatch(dir)
    try {
      const watcher = watch(dir, (_event, name) =>
        this.#mark(name === null ? dir : join(dir, name)),
      )
      // The directory went away; its parent's watch says so too.
      watcher.on('error', () => this.#unwatch(dir))
      this.#watchers.set(dir, { watcher, ino })
    } catch {
      // Gone, or no inotify watches left: the rescan sees to it.
    }
  }

  #unwatch(path: string): void {
    for (const [dir, { watcher }] of this.#watchers) {
      if (dir !== path && !dir.startsWith(path + sep)) continue
      watcher.close()
      this.#watchers.delete(dir)
    }
  }

  /** undefined: the file is gone. Throws when it cannot be read. */
  async #read(file: string): Promise<{ text: string } | undefined | 'unchanged'> {
    const before = this.#stamps.get(file)
    try {
      const { size, mtimeNs, ino } = await stat(file, { bigint: true })
      const stamp = `${ino}:${size}:${mtimeNs}`
      if (stamp === before) return 'unchanged'
      this.#stamps.set(file, stamp)
      if (size > this.#options.maxFileBytes) {
        throw new RangeError(
          `has ${size} bytes; at most ${this.#options.maxFileBytes} are read (--max-file-bytes)`,
        )
      }
      return { text: await readFile(file, 'utf8') }
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error
      return this.#stamps.delete(file) ? undefined : 'unchanged'
    }
  }

  #name(file: string): string {
    return relative(this.#root, file)
  }
}
