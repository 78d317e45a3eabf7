// SPDX-License-Identifier: Apache-2.0
// The parent: holds the listening sockets and the configuration, serves nothing. Workers are child processes that inherit
// the sockets; not node:cluster, whose parent closes a shared socket with the last worker, and with it the backlog that
// must survive a crash.
import { type ChildProcess, fork } from 'node:child_process'
import type { Changes, Resources } from '@pillion/contract'
import type { Logger } from 'pino'
import { deltaOf, type FromWorker, type ToWorker } from './ipc.ts'

export type SupervisorSettings = {
  /** Module that a worker runs, and its arguments. */
  readonly workerModule: URL
  readonly argv: readonly string[]
  readonly workers: number
  readonly listenFds: readonly number[]
  readonly drainTimeoutMs: number
  /** Called once while stopping, when no worker accepts any more: whoever holds the sockets must let go of them. */
  readonly onStopped: () => void
  readonly log: Logger
}

const answerMs = 2000
const backoffMinMs = 100
const backoffMaxMs = 5000
/** A worker that lived this long starts the backoff anew. */
const stableMs = 10_000
/** What draining may take beyond its own timeout. */
const drainSlackMs = 2000

type Slot = {
  child: ChildProcess | undefined
  listening: boolean
  configured: boolean
  startedMs: number
  failures: number
  timer: NodeJS.Timeout | undefined
}

type Waiting = {
  resolve(value: unknown): void
  child: ChildProcess
}

export class Supervisor {
  readonly #settings: SupervisorSettings
  readonly #slots: Slot[]
  readonly #waiting: Map<number, Waiting> = new Map()
  #resources: Resources | undefined
  #seq = 0
  #stopping = false
  #stopReported = false
  readonly #serving: PromiseWithResolvers<void> = Promise.withResolvers()
  /** Workers that died without being asked to. */
  crashes = 0

  constructor(settings: SupervisorSettings) {
    this.#settings = settings
    this.#slots = Array.from({ length: settings.workers }, () => ({
      child: undefined,
      listening: false,
      configured: false,
      startedMs: 0,
      failures: 0,
      timer: undefined,
    }))
  }

  start(): void {
    for (const slot of this.#slots) this.#spawn(slot)
  }

  /** True when some worker listens with a configuration. */
  get ready(): boolean {
    return (
      !this.#stopping && this.#slots.some((slot) => slot.listening && slot.configured)
    )
  }

  /** Resolves when every worker listens with a configuration. */
  get serving(): Promise<void> {
    return this.#serving.promise
  }

  get pids(): number[] {
    return this.#slots.flatMap(({ child }) => child?.pid ?? [])
  }

  /** Puts a configuration in force in every worker. Throws when a worker refuses it. */
  async configure(resources: Resources, changes: Changes): Promise<void> {
    const delta = deltaOf(resources, changes)
    const told = new Set<ChildProcess>()
    const errors = await Promise.all(
      this.#slots.map(async (slot) => {
        if (slot.child !== undefined) told.add(slot.child)
        return this.#send(slot, { type: 'config', seq: 0, full: false, ...delta })
      }),
    )
    const refused = errors.find((error) => typeof error === 'string')
    if (refused !== undefined) throw new TypeError(refused)
    this.#resources = resources
    // A worker that started meanwhile was given the configuration before this one.
    for (const slot of this.#slots) {
      if (slot.child !== undefined && !told.has(slot.child)) void this.#configureAll(slot)
    }
  }

  /** Asks every worker; those that do not answer are left out. */
  async ask(what: 'metrics' | 'config'): Promise<unknown[]> {
    const answers = await Promise.all(
      this.#slots.map(async (slot) =>
        slot.child === undefined
          ? undefined
          : this.#send(slot, { type: 'ask', seq: 0, what }),
      ),
    )
    return answers.filter((answer) => answer !== undefined && !(answer instanceof Error))
  }

  /** Drains all workers; resolves when they are gone. `succeeded`: a successor serves on the same sockets. */
  async stop(succeeded: boolean): Promise<void> {
    this.#stopping = true
    for (const slot of this.#slots) if (slot.timer !== undefined) clearTimeout(slot.timer)
    await Promise.all(
      this.#slots.map(async ({ child }) =>
        child === undefined ? undefined : this.#stopChild(child, succeeded),
      ),
    )
    this.#reportStopped()
  }

  #reportServing(): void {
    if (this.#slots.every((slot) => slot.listening && slot.configured))
      this.#serving.resolve()
  }

  #reportStopped(): void {
    if (this.#stopReported || this.#slots.some((slot) => slot.listening)) return
    this.#stopReported = true
    this.#settings.onStopped()
  }

  async #stopChild(child: ChildProcess, succeeded: boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>()
    child.once('exit', () => {
      resolve(undefined)
    })
    const timer = setTimeout(
      () => child.kill('SIGKILL'),
      this.#settings.drainTimeoutMs + drainSlackMs,
    )
    if (child.connected) child.send({ type: 'drain', succeeded } satisfies ToWorker)
    else child.kill('SIGKILL')
    await promise
    clearTimeout(timer)
  }

  #spawn(slot: Slot): void {
    const { workerModule, argv, listenFds, log } = this.#settings
    const child = fork(workerModule, [...argv], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...listenFds],
      serialization: 'advanced',
    })
    slot.child = child
    slot.listening = false
    slot.configured = false
    slot.startedMs = performance.now()
    child.on('message', (message: FromWorker) => {
      this.#onMessage(slot, message)
    })
    child.on('error', (error) => {
      log.error({ err: error }, 'worker')
    })
    child.on('exit', (code, signal) => {
      this.#onExit(slot, child, code, signal)
    })
    if (this.#resources !== undefined) void this.#configureAll(slot)
  }

  async #configureAll(slot: Slot): Promise<void> {
    const resources = this.#resources
    if (resources === undefined) return
    const upserts = Object.entries(resources).flatMap(([kind, map]) =>
      [...(map as ReadonlyMap<string, unknown>)].map(
        ([name, value]) => [kind, name, value] as const,
      ),
    ) as Extract<ToWorker, { type: 'config' }>['upserts']
    const error = await this.#send(slot, {
      type: 'config',
      seq: 0,
      full: true,
      upserts,
      removals: [],
    })
    if (error !== undefined)
      this.#settings.log.error({ error }, 'a new worker refused the configuration')
  }

  #onMessage(slot: Slot, message: FromWorker): void {
    if (message.type === 'listening') {
      slot.listening = true
      this.#reportServing()
      return
    }
    if (message.type === 'stopped') {
      slot.listening = false
      this.#reportStopped()
      return
    }
    const waiting = this.#waiting.get(message.seq)
    this.#waiting.delete(message.seq)
    if (message.type === 'applied') {
      if (message.error === undefined) slot.configured = true
      this.#reportServing()
      waiting?.resolve(message.error)
    } else {
      waiting?.resolve(message.value)
    }
  }

  #onExit(
    slot: Slot,
    child: ChildProcess,
    code: number | null,
    signal: string | null,
  ): void {
    slot.child = undefined
    slot.listening = false
    slot.configured = false
    for (const [seq, waiting] of this.#waiting) {
      if (waiting.child !== child) continue
      this.#waiting.delete(seq)
      waiting.resolve(undefined)
    }
    if (this.#stopping) return
    this.crashes++
    slot.failures = performance.now() - slot.startedMs > stableMs ? 1 : slot.failures + 1
    // The first one at once: its backlog is waiting.
    const delayMs =
      slot.failures === 1
        ? 0
        : Math.min(backoffMaxMs, backoffMinMs * 2 ** (slot.failures - 2))
    this.#settings.log.error(
      { pid: child.pid, code, signal, delayMs },
      'worker died, starting another one',
    )
    slot.timer = setTimeout(() => {
      this.#spawn(slot)
    }, delayMs)
  }

  /** The worker's answer; undefined when it died or is silent. */
  async #send(
    slot: Slot,
    message: Exclude<ToWorker, { type: 'drain' }>,
  ): Promise<unknown> {
    const { child } = slot
    if (child?.connected !== true) return undefined
    const seq = ++this.#seq
    const { promise, resolve } = Promise.withResolvers<unknown>()
    this.#waiting.set(seq, { resolve, child })
    const timer = setTimeout(() => {
      this.#waiting.delete(seq)
      resolve(undefined)
    }, answerMs)
    child.send({ ...message, seq })
    const answer = await promise
    clearTimeout(timer)
    return answer
  }
}
