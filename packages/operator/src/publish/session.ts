// SPDX-License-Identifier: Apache-2.0
// One subscriber's stream: at most one delta is on its way; what changes meanwhile is one later delta to the newest view.
import {
  isReadable,
  type Ack,
  type Delta,
  type Hello,
  type Resources,
  type Summary,
} from '@pillion/contract'
import type { ViewBuckets } from './buckets.ts'
import { diff, isEmpty } from './diff.ts'
import { deltaLimits, type Turn, type Turns } from './turns.ts'

/** A view with the version it was published as. */
export interface Versioned {
  readonly version: number
  readonly view: Resources
}

export interface Refusal extends Versioned {
  readonly reason: string
}

/** Views that a client of this node and role may hold, by version: what a resumed stream starts from. */
export class History {
  static readonly limit = 8
  readonly #views = new Map<number, Resources>()

  add({ version, view }: Versioned): void {
    this.#views.set(version, view)
    for (const oldest of this.#views.keys()) {
      if (this.#views.size <= History.limit) break
      this.#views.delete(oldest)
    }
  }

  at(version: number): Resources | undefined {
    return this.#views.get(version)
  }
}

/** Sends a delta; `onTaken` is called when nothing of it is in memory any more. */
export type Write = (delta: Delta, onTaken: () => void) => void

/** From what a stream goes on: a version that is known here, what the client says that it holds, or nothing. */
export type Start = 'version' | 'summary' | 'nothing'

type Content = Pick<Delta, 'full' | 'upserts' | 'removals' | 'replaced'>

export interface SessionOptions {
  readonly hello: Hello
  readonly epoch: string
  readonly history: History
  readonly nackRetryMs: number
  /** Of views of this role. */
  readonly buckets: ViewBuckets
  readonly turns: Turns
  readonly latest: () => Versioned
  readonly write: Write
  /** Something that status shows has changed. */
  readonly onChange: () => void
}

export class Session {
  readonly start: Start
  /** What the client has in force. */
  acked: Versioned | undefined
  refused: Refusal | undefined
  readonly #options: SessionOptions
  /** What the client holds, until it has acknowledged a version. */
  #held: Summary | undefined
  #inFlight: Versioned | undefined
  #turn: Turn | undefined
  #retry: NodeJS.Timeout | undefined

  constructor(options: SessionOptions) {
    const { hello, epoch, history } = options
    this.#options = options
    const view = hello.resumeEpoch === epoch ? history.at(hello.resumeVersion) : undefined
    this.acked = view && { version: hello.resumeVersion, view }
    const { summary } = hello
    if (view === undefined && summary && isReadable(summary)) this.#held = summary
    this.start = view ? 'version' : this.#held ? 'summary' : 'nothing'
  }

  /** True when the client holds the latest version. */
  get current(): boolean {
    return this.acked?.version === this.#options.latest().version
  }

  /** Sends what is missing, unless a delta is on its way, or waits for its turn: then this is called again. */
  offer(): void {
    if (this.#inFlight !== undefined || this.#turn !== undefined) return
    const latest = this.#options.latest()
    const { refused } = this
    // The same again would be refused again; the retry timer is for causes that pass.
    if (refused !== undefined && isEmpty(diff(refused.view, latest.view))) return
    this.#send()
  }

  ack({ version, error }: Ack): void {
    const sent = this.#inFlight
    if (sent === undefined || sent.version !== version) return
    this.#inFlight = undefined
    clearTimeout(this.#retry)
    this.#endTurn()
    if (error === '') {
      this.acked = sent
      this.#held = undefined
      this.refused = undefined
    } else {
      this.refused = { ...sent, reason: error }
      this.#retry = setTimeout(() => {
        if (this.#inFlight === undefined && this.#turn === undefined) this.#send()
      }, this.#options.nackRetryMs)
    }
    this.offer()
    this.#options.onChange()
  }

  close(): void {
    clearTimeout(this.#retry)
    this.#endTurn()
  }

  #send(): void {
    const latest = this.#options.latest()
    const { size, content } = this.#missing(latest.view)
    if (size === 0 && this.acked !== undefined) {
      this.#endTurn()
      this.#passOver(this.acked, latest)
      return
    }
    if (size > deltaLimits.smallResources) {
      this.#turn ??= this.#options.turns.take(() => this.#send())
      if (!this.#turn.isMine) return
    }
    this.#inFlight = latest
    this.#options.history.add(latest)
    const { epoch, write } = this.#options
    const turn = this.#turn
    const onTaken = (): void => {
      if (this.#turn === turn) this.#endTurn()
    }
    write({ version: latest.version, epoch, ...content() }, onTaken)
  }

  /** Nothing of this version concerns this subscriber: it holds the version already. */
  #passOver({ version }: Versioned, latest: Versioned): void {
    this.acked = latest
    this.refused = undefined
    this.#options.history.add({ version, view: latest.view })
    this.#options.onChange()
  }

  /** What has to be sent; `size` in resources. A holder of what we do not know is answered in any case: it learns the version. */
  #missing(view: Resources): { size: number; content: () => Content } {
    const rest = { full: false, upserts: [], removals: [], replaced: [] }
    if (this.acked !== undefined) {
      const changes = diff(this.acked.view, view)
      const size = changes.upserts.length + changes.removals.length
      return { size, content: () => ({ ...rest, ...changes }) }
    }
    if (this.#held !== undefined) {
      const { replaced, size, upserts } = this.#options.buckets.missing(this.#held, view)
      return { size, content: () => ({ ...rest, upserts: upserts(), replaced }) }
    }
    const size = Object.values(view).reduce((sum, { size: each }) => sum + each, 0)
    return {
      size,
      content: () => ({ ...rest, full: true, upserts: everything(view) }),
    }
  }

  #endTurn(): void {
    const turn = this.#turn
    this.#turn = undefined
    turn?.release()
  }
}

function everything(view: Resources): Delta['upserts'] {
  const empty = Object.fromEntries(Object.keys(view).map((kind) => [kind, new Map()]))
  return diff(empty as unknown as Resources, view).upserts
}
