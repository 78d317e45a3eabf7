// SPDX-License-Identifier: Apache-2.0
// The filters that services use: a thread for each, started when a service first names it, and again when the directory has changed.
import type { Logger } from 'pino'
import type { Metrics } from '../metrics/metrics.ts'
import type { Options } from '../options.ts'
import { CodeDirectory, type CodeFiles } from './directory.ts'
import { FilterHost } from './host.ts'

export type LibraryOptions = Pick<
  Options,
  'filtersDir' | 'filterSecretsDir' | 'filterMemory' | 'filters' | 'filterPending'
>

/** How often the directory is looked at, while any filter is used. */
const lookMs = 1000

export class FilterLibrary {
  readonly #options: LibraryOptions
  readonly #metrics: Metrics
  readonly #log: Logger
  readonly #hosts: Map<string, FilterHost> = new Map()
  readonly #directory: CodeDirectory
  /** Named, but too many. */
  #refused: ReadonlySet<string> = new Set()
  #seen: CodeFiles | undefined
  #timer: NodeJS.Timeout | undefined
  #looking = false
  #closed = false

  constructor(options: LibraryOptions, metrics: Metrics, log: Logger) {
    this.#options = options
    this.#metrics = metrics
    this.#log = log
    this.#directory = new CodeDirectory(options.filtersDir)
  }

  /** The names in use, first come first served. What is not named any more ends. */
  use(names: ReadonlySet<string>): void {
    for (const [name, host] of this.#hosts) {
      if (names.has(name)) continue
      host.close()
      this.#hosts.delete(name)
    }
    const refused = new Set<string>()
    for (const name of names) {
      if (this.#hosts.has(name)) continue
      if (this.#hosts.size >= this.#options.filters) refused.add(name)
      else this.#hosts.set(name, this.#host(name))
    }
    this.#refused = refused
    this.#metrics.filters.prune(names)
    if (this.#hosts.size > 0 && this.#timer === undefined && !this.#looking) this.#look()
  }

  /** undefined: it is one too many, or nobody has named it yet. */
  host(name: string): FilterHost | undefined {
    return this.#hosts.get(name)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const host of this.#hosts.values()) host.close()
  }

  /** For /debug/config. */
  dump(): unknown[] {
    const problem = `one of more than ${this.#options.filters} filters (--max-filters)`
    return [
      ...[...this.#hosts.values()].map((host) => host.dump()),
      ...[...this.#refused].map((name) => ({ name, state: 'refused', problem })),
    ]
  }

  #host(name: string): FilterHost {
    const { filterMemory, filterPending, filterSecretsDir } = this.#options
    const host = new FilterHost(name, {
      secretsDir: filterSecretsDir,
      memoryBytes: filterMemory,
      maxPending: filterPending,
      metrics: this.#metrics.filters,
      log: this.#log,
    })
    if (this.#seen !== undefined) this.#assign(host, this.#seen)
    return host
  }

  #assign(host: FilterHost, { files, version }: CodeFiles): void {
    const file = files.get(host.name)
    if (file !== undefined) host.want(file, version)
    else host.lacks(`${this.#options.filtersDir} has no file ${host.name}.ts or .mjs`)
  }

  /** One look, and the next one when it is over. */
  #look(): void {
    const { filtersDir } = this.#options
    const unread = (problem: string): void => {
      for (const host of this.#hosts.values()) host.lacks(problem)
    }
    if (filtersDir === '') return unread('the proxy has no --filters-dir')
    this.#looking = true
    void this.#directory
      .read()
      .then(
        (code) => {
          this.#seen = code
          for (const host of this.#hosts.values()) this.#assign(host, code)
        },
        (error: unknown) => {
          unread(error instanceof Error ? error.message : String(error))
        },
      )
      .then(() => {
        this.#looking = false
        if (this.#closed) return
        this.#timer = setTimeout(() => {
          this.#timer = undefined
          if (this.#hosts.size > 0) this.#look()
        }, lookMs).unref()
      })
  }
}
