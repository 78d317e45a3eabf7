// SPDX-License-Identifier: Apache-2.0
// One filter by its name, over all its versions: the thread that serves, the next one that is being tried, and when to try again.
import type { Logger } from 'pino'
import type { FilterSeries } from '../metrics/filters.ts'
import { FilterThread, type ThreadSettings } from './filter-thread.ts'
import type { Result } from './result.ts'
import { SlowLog } from './slow-log.ts'
import type { Call, Hook } from './wire.ts'

export type HostSettings = Omit<ThreadSettings, 'file'> & {
  readonly metrics: FilterSeries
  readonly log: Logger
}

const backoffMinMs = 100
const backoffMaxMs = 60_000
/** A version that worked this long starts the backoff anew. */
const stableMs = 60_000

export class FilterHost {
  readonly name: string
  readonly #settings: HostSettings
  readonly #failures: SlowLog = new SlowLog()
  #file = ''
  /** That was asked for last, and that serves. */
  #wanted = ''
  #version = ''
  #serving: FilterThread | undefined
  /** Tried; serves as soon as it is ready. */
  #next: FilterThread | undefined
  #timer: NodeJS.Timeout | undefined
  #deaths = 0
  #startedMs = 0
  #restarts = 0
  /** Calls that came before the directory was read, in a worker that has just started; undefined: it has been. */
  #early: Set<() => void> | undefined = new Set()
  /** Why the wanted version does not serve; '': it does, or is about to. */
  #problem = 'its file has not been looked for yet'

  constructor(name: string, settings: HostSettings) {
    this.name = name
    this.#settings = settings
  }

  /** What is to serve. Whatever serves now goes on until this version has proved to be usable. */
  want(file: string, version: string): void {
    if (version === this.#wanted && file === this.#file) return
    this.#file = file
    this.#wanted = version
    this.#deaths = 0
    this.#start()
    this.#callEarly()
  }

  /** There is no such file, or the directory cannot be read. Whatever serves goes on. */
  lacks(problem: string): void {
    this.#file = ''
    this.#wanted = ''
    this.#giveUpNext()
    this.#tell(problem)
    this.#callEarly()
  }

  /** True when the filter has a function for it, or is not known not to. */
  has(hook: Hook): boolean {
    return this.#serving?.hooks?.has(hook) ?? true
  }

  call(call: Call, timeoutMs: number, done: (result: Result) => void): void {
    const early = this.#early
    if (early === undefined || early.size >= this.#settings.maxPending)
      return this.#call(call, timeoutMs, done)
    const go = (): void => {
      clearTimeout(timer)
      early.delete(go)
      this.#call(call, timeoutMs, done)
    }
    const timer = setTimeout(go, timeoutMs)
    early.add(go)
  }

  #callEarly(): void {
    const early = this.#early
    this.#early = undefined
    for (const go of early ?? []) go()
  }

  #call(call: Call, timeoutMs: number, done: (result: Result) => void): void {
    const { metrics } = this.#settings
    const thread = this.#serving ?? this.#next
    const startedMs = performance.now()
    const settle = (result: Result): void => {
      const { kind } = result
      const answered = kind === 'done' && result.answer !== undefined
      const ms = performance.now() - startedMs
      metrics.observe(this.name, call.hook, answered ? 'answered' : kind, ms)
      if (kind !== 'done') this.#report(kind, result.error)
      done(result)
    }
    if (thread !== undefined) thread.call(call, timeoutMs, settle)
    else
      queueMicrotask(() => {
        settle({ kind: 'absent', error: this.#problem })
      })
  }

  close(): void {
    this.#callEarly()
    this.#giveUpNext()
    this.#serving?.close()
    this.#serving = undefined
  }

  /** For /debug/config. */
  dump(): Readonly<Record<string, unknown>> {
    return {
      name: this.name,
      version: this.#serving === undefined ? undefined : this.#version,
      state: this.#state(),
      hooks: [...(this.#serving?.hooks ?? [])],
      pending: this.#serving?.pending ?? 0,
      restarts: this.#restarts,
      problem: this.#problem === '' ? undefined : this.#problem,
    }
  }

  #state(): 'serving' | 'starting' | 'waiting' | 'missing' {
    if (this.#serving !== undefined) return 'serving'
    if (this.#next !== undefined) return 'starting'
    return this.#timer === undefined ? 'missing' : 'waiting'
  }

  #start(): void {
    this.#giveUpNext()
    const { log } = this.#settings
    const file = this.#file
    const version = this.#wanted
    const thread: FilterThread = new FilterThread(
      { ...this.#settings, file },
      {
        onReady: () => {
          this.#next = undefined
          this.#serving?.close()
          this.#serving = thread
          this.#version = version
          this.#startedMs = performance.now()
          this.#problem = ''
          log.info({ filter: this.name, version }, 'filter loaded')
        },
        onEnd: (reason, wasReady) => {
          this.#onEnd(thread, reason, wasReady)
        },
        onLine: (level, text, dropped) => {
          log[level]({ filter: this.name, dropped: dropped || undefined }, text)
        },
      },
    )
    this.#next = thread
  }

  #onEnd(thread: FilterThread, reason: string, wasReady: boolean): void {
    if (thread === this.#next) this.#next = undefined
    if (thread === this.#serving) this.#serving = undefined
    if (wasReady) {
      this.#restarts++
      this.#settings.metrics.died(this.name)
      if (performance.now() - this.#startedMs > stableMs) this.#deaths = 0
    }
    this.#tell(`${wasReady ? 'ended' : 'cannot be loaded'}: ${reason}`)
    const delayMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#deaths++)
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    // Again even when it could not be loaded: its file may have been replaced just then. Only if nothing newer came meanwhile.
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#file !== '' && this.#next === undefined) this.#start()
    }, delayMs).unref()
  }

  #giveUpNext(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    this.#next?.close()
    this.#next = undefined
  }

  /** Once for each new reason. */
  #tell(problem: string): void {
    if (problem === this.#problem) return
    this.#problem = problem
    const keeps = this.#serving === undefined ? undefined : this.#version
    this.#settings.log.error({ filter: this.name, problem, keeps }, 'filter not usable')
  }

  #report(kind: string, error: string): void {
    this.#failures.tell(error, (text, dropped) => {
      this.#settings.log.error(
        { filter: this.name, outcome: kind, error: text, dropped: dropped || undefined },
        'filter failed a request',
      )
    })
  }
}
