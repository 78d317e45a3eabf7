// SPDX-License-Identifier: Apache-2.0
// The client in its pod, and what happened to its requests between two moments.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { labExecArgv } from '../lab.ts'
import type { Tallies } from './tally.ts'

type Counts = Record<string, Pick<Tallies[string], 'requests' | 'failed' | 'reasons'>>

/** What a phase cost: requests, failures with what the clients saw, the longest request; by kind of load. */
export interface Phase {
  readonly seconds: number
  readonly requests: number
  readonly failed: number
  readonly reasons: Record<string, number>
  readonly kinds: Record<string, { requests: number; failed: number; worstMs: number }>
}

export class Load {
  #child: ChildProcess
  #ended: Promise<unknown>
  #now: Tallies = {}
  #worst: Record<string, number> = {}
  #onLine: (() => void)[] = []

  private constructor() {
    this.#child = this.#spawn()
    this.#ended = once(this.#child, 'exit')
  }

  /** Resolves when all kinds of load run. */
  static async start(): Promise<Load> {
    const load = new Load()
    await load.#running()
    return load
  }

  #spawn(): ChildProcess {
    const [command = '', ...args] = labExecArgv('client', [
      'node',
      join(import.meta.dirname, 'client.ts'),
    ])
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: child.stdout }).on('line', (line) => this.#report(line))
    return child
  }

  #report(line: string): void {
    this.#now = JSON.parse(line) as Tallies
    for (const [kind, { worstMs }] of Object.entries(this.#now))
      this.#worst[kind] = Math.max(this.#worst[kind] ?? 0, worstMs)
    for (const resolve of this.#onLine.splice(0)) resolve()
  }

  async #line(): Promise<void> {
    const line = new Promise<void>((resolve) => this.#onLine.push(resolve))
    await Promise.race([line, this.#ended])
    const { exitCode } = this.#child
    if (exitCode !== null) throw new Error(`the client ended: ${exitCode}`)
  }

  async #running(): Promise<void> {
    const isRunning = ({ requests }: { requests: number }): boolean => requests > 0
    do await this.#line()
    while (!Object.values(this.#now).every(isRunning))
  }

  #total(): number {
    return Object.values(this.#now).reduce((sum, { requests }) => sum + requests, 0)
  }

  /** Resolves when so many requests have been made since `phase` began. */
  async until(requests: number): Promise<void> {
    while (this.#total() - this.#phaseStart < requests) await this.#line()
  }

  #phaseStart = 0

  async phase(name: string, work: () => Promise<void>): Promise<Phase> {
    await this.#line()
    const before = this.#now as Counts
    const startMs = performance.now()
    this.#phaseStart = this.#total()
    this.#worst = {}
    await work()
    await this.#line()
    const phase = difference(before, this.#now, this.#worst, performance.now() - startMs)
    const { seconds, requests, failed, reasons } = phase
    const worst = Math.max(...Object.values(phase.kinds).map(({ worstMs }) => worstMs))
    console.log(
      `${name}: ${requests} requests in ${seconds} s, ${failed} failed, longest ${worst} ms`,
      failed > 0 ? reasons : '',
    )
    return phase
  }

  /** Ends without cutting a request off. */
  async end(): Promise<void> {
    this.#child.stdin?.end()
    await this.#ended
  }

  /** Ends and starts anew, on new connections. */
  async restart(): Promise<void> {
    await this.end()
    this.#now = {}
    this.#child = this.#spawn()
    this.#ended = once(this.#child, 'exit')
    await this.#running()
  }
}

function difference(
  before: Counts,
  after: Counts,
  worst: Record<string, number>,
  ms: number,
): Phase {
  const reasons: Record<string, number> = {}
  const kinds: Phase['kinds'] = {}
  for (const [kind, now] of Object.entries(after)) {
    const then = before[kind]
    for (const [reason, count] of Object.entries(now.reasons)) {
      const more = count - (then?.reasons[reason] ?? 0)
      if (more > 0) reasons[`${kind}: ${reason}`] = more
    }
    const requests = now.requests - (then?.requests ?? 0)
    const failed = now.failed - (then?.failed ?? 0)
    kinds[kind] = { requests, failed, worstMs: Math.round(worst[kind] ?? 0) }
  }
  const sum = (of: 'requests' | 'failed'): number =>
    Object.values(kinds).reduce((total, each) => total + each[of], 0)
  const seconds = Math.round(ms / 1000)
  return { seconds, requests: sum('requests'), failed: sum('failed'), reasons, kinds }
}
