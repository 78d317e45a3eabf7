// SPDX-License-Identifier: Apache-2.0
// One process that is kept running: restarts with back-off, output to a bounded file.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import { isPopulated, killCgroup } from './cgroup.ts'
import { launchArgv, type Launch } from './launch.ts'

const defaultFirstBackoffMs = 1000
const maxBackoffMs = 30_000
/** A process that lived this long starts over with the first back-off. */
const healthyMs = 60_000

export interface Exit {
  readonly code: number | null
  readonly signal: string | null
}

export interface SupervisedOptions {
  /** Asked before each start, so that a restart sees new addresses. */
  readonly launch: () => Launch
  readonly logFile: string
  /** Wait before the first restart; doubles up to 30 s. */
  readonly firstBackoffMs?: number
  readonly onStart?: (pid: number) => void
  /** After each end that was not asked for; returns whether to start again. */
  readonly onExit?: (exit: Exit) => boolean
}

/** What is known of a process. */
export type ProcessState =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'running'; readonly pid: number; readonly sinceMs: number }
  | { readonly kind: 'backoff'; readonly untilMs: number; readonly exit: Exit }
  | { readonly kind: 'ended'; readonly exit: Exit }

export class Supervised {
  readonly #options: SupervisedOptions
  #child: ChildProcess | undefined
  /** Runs on beside `#child`, which is to succeed it. */
  #predecessor: ChildProcess | undefined
  #timer: NodeJS.Timeout | undefined
  #state: ProcessState = { kind: 'stopped' }
  #backoffMs: number
  #stopping = false
  restarts = 0

  constructor(options: SupervisedOptions) {
    this.#options = options
    this.#backoffMs = this.#firstBackoffMs
  }

  get #firstBackoffMs(): number {
    return this.#options.firstBackoffMs ?? defaultFirstBackoffMs
  }

  get state(): ProcessState {
    return this.#state
  }

  start(): void {
    if (!this.#stopping && this.#child === undefined) this.#spawn()
  }

  /** Starts another one beside the one that runs, and resolves when it has ended that one; rejects when it fails to. */
  async succeed(): Promise<void> {
    const [before, { kind }] = [this.#child, this.#state]
    if (before === undefined || kind !== 'running' || this.#predecessor !== undefined)
      throw new Error(`nothing to succeed: ${this.describe(Date.now())}`)
    this.#predecessor = before
    const successor = this.#spawn()
    await Promise.race([once(before, 'exit'), once(successor, 'exit')])
    if (before.exitCode === null && before.signalCode === null)
      throw new Error('the successor ended before the one that runs')
  }

  /** Ends it as if nobody had asked for it: it is started again after the first back-off. Resolves when it has ended. */
  async restart(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#backoffMs = this.#firstBackoffMs
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    await exited
  }

  #spawn(): ChildProcess {
    const launch = this.#options.launch()
    const { command, args } = launchArgv(launch)
    // The file is the process's own stdout: no pipe through the supervisor, so output costs it nothing and its death
    // breaks nobody's pipe. O_APPEND lets rotation truncate underneath (log.ts).
    const log = openSync(this.#options.logFile, 'a', 0o640)
    const child = spawn(command, args, {
      stdio: ['ignore', log, log],
      env: launch.env,
      detached: true,
    })
    closeSync(log)
    this.#child = child
    const startedMs = Date.now()
    child.once('spawn', () => {
      this.#state = { kind: 'running', pid: child.pid ?? 0, sinceMs: startedMs }
      this.#options.onStart?.(child.pid ?? 0)
    })
    const ended = (exit: Exit): void => this.#ended(child, launch, startedMs, exit)
    child.once('error', () => ended({ code: 127, signal: null }))
    child.once('exit', (code, signal) => ended({ code, signal }))
    return child
  }

  #ended(child: ChildProcess, launch: Launch, startedMs: number, exit: Exit): void {
    if (child === this.#predecessor) this.#predecessor = undefined
    if (child !== this.#child) return
    // A successor that dies leaves things as they were.
    this.#child = this.#predecessor
    this.#predecessor = undefined
    if (this.#child !== undefined) {
      this.#state = { kind: 'running', pid: this.#child.pid ?? 0, sinceMs: startedMs }
      return
    }
    if (this.#stopping) {
      this.#state = { kind: 'ended', exit }
      return
    }
    // What the process forked belongs to it and ends with it, as with a container.
    killCgroup(launch.cgroup)
    if (this.#options.onExit?.(exit) === false) {
      this.#state = { kind: 'ended', exit }
      return
    }
    if (Date.now() - startedMs > healthyMs) this.#backoffMs = this.#firstBackoffMs
    const delayMs = this.#backoffMs
    this.#backoffMs = Math.min(delayMs * 2, maxBackoffMs)
    this.#state = { kind: 'backoff', untilMs: Date.now() + delayMs, exit }
    this.#timer = setTimeout(() => {
      this.restarts++
      this.start()
    }, delayMs)
  }

  /** SIGTERM, then after `graceMs` SIGKILL to the whole cgroup. Resolves when nothing of it runs any more. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#timer)
    const { cgroup } = this.#options.launch()
    const deadline = Date.now() + graceMs
    const running = [this.#predecessor, this.#child]
    for (const child of running) child?.kill('SIGTERM')
    while (this.#child !== undefined && Date.now() < deadline) await sleep(10)
    killCgroup(cgroup)
    const killDeadline = Date.now() + 5000
    while (isPopulated(cgroup) && Date.now() < killDeadline) await sleep(5)
  }

  /** One line for people: "running (pid 12)", "exit code 1, next start in 4 s". */
  describe(nowMs: number): string {
    const state = this.#state
    switch (state.kind) {
      case 'stopped':
        return 'not started'
      case 'running':
        return `running (pid ${state.pid})`
      case 'backoff': {
        const seconds = Math.max(0, Math.ceil((state.untilMs - nowMs) / 1000))
        return `${describeExit(state.exit)}, next start in ${seconds} s`
      }
      case 'ended':
        return describeExit(state.exit)
    }
  }
}

export function describeExit(exit: Exit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `killed by ${exit.signal}`
}

/** For callers that stop without waiting: failures become a message. */
export async function settle(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}
