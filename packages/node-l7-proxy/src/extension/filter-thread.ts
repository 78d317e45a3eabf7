// SPDX-License-Identifier: Apache-2.0
// One version of one filter, seen from the proxy: its thread, the calls that it has not answered, their time limits, and the
// suspicion that a silent thread never will.
import { Worker } from 'node:worker_threads'
import { errorText } from './error-text.ts'
import { fromThread } from './from-thread.ts'
import { hardLimitMb, watchMemory } from './memory.ts'
import type { Result } from './result.ts'
import { sharedMs } from './shared-ms.ts'
import { SlowLog } from './slow-log.ts'
import type { Call, Hook, ThreadData, ToThread } from './wire.ts'

export type ThreadSettings = ThreadData & {
  /** Of its heap and its buffers. */
  readonly memoryBytes: number
  /** Calls without an answer, and those that may still be in the thread's queue. */
  readonly maxPending: number
}

export type ThreadEvents = {
  onReady(): void
  /** Once, and not after close(). `wasReady` false: this version never worked. */
  onEnd(reason: string, wasReady: boolean): void
  onLine(level: 'info' | 'warn' | 'error', text: string, dropped: number): void
}

type Pending = {
  readonly done: (result: Result) => void
  readonly timer: NodeJS.Timeout
}

/** How long importing the file may take. */
const importMs = 10_000
/** After a time-out, how long the thread may stay silent before it is taken to be in a loop. */
const silentMs = 1000
/** Of its time, how much a call may wait for its turn. Were it all, a filter with too many would begin each one too late to answer. */
const maxWaitShare = 0.5
/** How long the last calls of a version that is replaced may take; their own time limits are shorter as a rule. */
const closeMs = 30_000

/** Loops and crashes of user code end here. */
export class FilterThread {
  hooks: ReadonlySet<Hook> | undefined
  readonly #worker: Worker
  readonly #events: ThreadEvents
  readonly #maxPending: number
  readonly #pending: Map<number, Pending> = new Map()
  /** Timed out, but perhaps still in the thread's queue, which is bounded by counting them. */
  readonly #late: Set<number> = new Set()
  readonly #output: SlowLog = new SlowLog()
  readonly #stopWatching: () => void
  #seq = 0
  #state: 'importing' | 'ready' | 'closing' | 'over' = 'importing'
  /** Bounds whatever is waited for: the import, a sign of life, the last calls. */
  #timer: NodeJS.Timeout | undefined
  /** The last call that was posted before the ping that is under way. */
  #probed: number | undefined

  constructor(settings: ThreadSettings, events: ThreadEvents) {
    const { file, secretsDir, memoryBytes, maxPending } = settings
    this.#events = events
    this.#maxPending = maxPending
    const worker = new Worker(new URL('thread.ts', import.meta.url), {
      workerData: { file, secretsDir } satisfies ThreadData,
      // Nothing of the proxy's environment; a file beside no package.json is recognised by its syntax, which is no news.
      env: {},
      argv: [],
      execArgv: ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON'],
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: hardLimitMb },
    })
    const collect = (): void => {
      this.#post({ type: 'collect' })
    }
    this.#stopWatching = watchMemory(worker, memoryBytes, collect, (bytes) => {
      this.#kill(
        `it has ${bytes} bytes of memory, at most ${memoryBytes} (--filter-memory)`,
      )
    })
    this.#worker = worker
    worker.unref()
    worker.on('message', (data: unknown) => {
      this.#onMessage(data)
    })
    worker.on('error', (error) => {
      this.#end(errorText(error))
    })
    worker.on('exit', (code) => {
      this.#end(`its thread ended with code ${code}`)
    })
    for (const stream of [worker.stdout, worker.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output.tell(text.trimEnd(), (line, dropped) => {
          this.#events.onLine('info', line, dropped)
        })
      })
    }
    this.#arm(importMs, () => {
      this.#kill(`its file was not imported in ${importMs} ms`)
    })
  }

  /** Calls that count against maxPending. */
  get pending(): number {
    return this.#pending.size + this.#late.size
  }

  /** `done` is called once, later. Calls that come before the file is imported wait for it. */
  call(call: Call, timeoutMs: number, done: (result: Result) => void): void {
    const full = this.pending >= this.#maxPending
    if (full || this.#state === 'over') {
      const kind = full ? 'overflow' : 'died'
      const error = full ? `${this.#maxPending} calls have no answer yet` : 'it has ended'
      queueMicrotask(() => {
        done({ kind, error })
      })
      return
    }
    const seq = ++this.#seq
    const timer = setTimeout(() => {
      this.#late.add(seq)
      this.#settle(seq, { kind: 'timeout', error: `no answer in ${timeoutMs} ms` })
      this.#probe()
    }, timeoutMs)
    this.#pending.set(seq, { done, timer })
    const waitMs = this.#state === 'importing' ? timeoutMs : timeoutMs * maxWaitShare
    this.#post({ type: 'call', seq, call, beginByMs: sharedMs() + waitMs })
  }

  /** Ends the thread when its last calls are answered. No event follows. */
  close(): void {
    if (this.#state === 'over' || this.#state === 'closing') return
    this.#state = 'closing'
    this.#arm(closeMs, () => {
      this.#kill('it was replaced')
    })
    this.#endIfIdle()
  }

  #onMessage(data: unknown): void {
    if (this.#state === 'over') return
    const message = fromThread(data)
    switch (message?.type) {
      case 'ready':
        this.#onReady(new Set(message.hooks))
        break
      case 'broken':
        this.#kill(message.error)
        break
      case 'done':
        this.#onAnswer(message.seq, { ...message, kind: 'done' })
        break
      case 'failed':
        this.#onAnswer(message.seq, { kind: 'threw', error: message.error })
        break
      case 'log':
        this.#events.onLine(message.level, message.text, message.dropped)
        break
      case 'pong':
        this.#onPong()
        break
      case undefined:
        this.#kill('it sent what is no message to the port of its thread')
        break
    }
  }

  #onReady(hooks: ReadonlySet<Hook>): void {
    this.hooks ??= hooks
    if (this.#state !== 'importing') return
    this.#disarm()
    this.#state = 'ready'
    this.#events.onReady()
    if (this.#late.size > 0) this.#probe()
  }

  #onAnswer(seq: number, result: Result): void {
    // Slow is not silent. But only the pong says that it is through with what it had then.
    if (this.#probed !== undefined) this.#timer?.refresh()
    this.#late.delete(seq)
    this.#settle(seq, result)
  }

  /** Messages keep their order: the thread has taken up whatever was posted before the ping, even if it never answers it. */
  #onPong(): void {
    const probed = this.#probed
    if (probed === undefined) return
    this.#disarm()
    for (const seq of this.#late) if (seq <= probed) this.#late.delete(seq)
    if (this.#late.size > 0) this.#probe()
  }

  #settle(seq: number, result: Result): void {
    const pending = this.#pending.get(seq)
    if (pending === undefined) return // too late
    this.#pending.delete(seq)
    clearTimeout(pending.timer)
    pending.done(result)
    this.#endIfIdle()
  }

  /** A thread that only waits for something answers at once. */
  #probe(): void {
    if (this.#state !== 'ready' || this.#probed !== undefined) return
    this.#post({ type: 'ping' })
    this.#arm(silentMs, () => {
      this.#kill(`it answered nothing for ${silentMs} ms after a time-out: a loop?`)
    })
    this.#probed = this.#seq
  }

  #endIfIdle(): void {
    if (this.#state === 'closing' && this.#pending.size === 0)
      this.#kill('it was replaced')
  }

  #kill(reason: string): void {
    this.#end(reason)
    void this.#worker.terminate()
  }

  #end(reason: string): void {
    if (this.#state === 'over') return
    const { hooks } = this
    const told = this.#state !== 'closing'
    this.#state = 'over'
    this.#disarm()
    this.#stopWatching()
    for (const seq of [...this.#pending.keys()])
      this.#settle(seq, { kind: 'died', error: reason })
    if (told) this.#events.onEnd(reason, hooks !== undefined)
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message)
  }

  #arm(ms: number, then: () => void): void {
    this.#disarm()
    this.#timer = setTimeout(then, ms).unref()
  }

  #disarm(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    this.#probed = undefined
  }
}
