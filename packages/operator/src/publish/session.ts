// SPDX-License-Identifier: Apache-2.0
// One subscriber's stream: at most one delta is on its way; what changes meanwhile is one later delta to the newest view.
import type { Ack, Delta, Hello, Resources } from '@pillion/contract'
import { diff, isEmpty } from './diff.ts'

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

export interface SessionOptions {
  readonly hello: Hello
  readonly epoch: string
  readonly history: History
  readonly nackRetryMs: number
  readonly latest: () => Versioned
  readonly write: (delta: Delta) => void
  /** Something that status shows has changed. */
  readonly onChange: () => void
}

export class Session {
  readonly hello: Hello
  /** What the client has in force. */
  acked: Versioned | undefined
  refused: Refusal | undefined
  readonly #options: SessionOptions
  #inFlight: Versioned | undefined
  #retry: NodeJS.Timeout | undefined

  constructor(options: SessionOptions) {
    const { hello, epoch, history } = options
    this.#options = options
    this.hello = hello
    const view = hello.resumeEpoch === epoch ? history.at(hello.resumeVersion) : undefined
    this.acked = view && { version: hello.resumeVersion, view }
  }

  /** True when the client holds the latest version. */
  get current(): boolean {
    return this.acked?.version === this.#options.latest().version
  }

  /** Sends what is missing, unless a delta is on its way: then its acknowledgement calls this again. */
  offer(): void {
    if (this.#inFlight !== undefined) return
    const latest = this.#options.latest()
    const { refused, acked } = this
    // The same again would be refused again; the retry timer is for causes that pass.
    if (refused !== undefined && isEmpty(diff(refused.view, latest.view))) return
    this.#send(latest, acked)
  }

  ack({ version, error }: Ack): void {
    const sent = this.#inFlight
    if (sent === undefined || sent.version !== version) return
    this.#inFlight = undefined
    clearTimeout(this.#retry)
    if (error === '') {
      this.acked = sent
      this.refused = undefined
    } else {
      this.refused = { ...sent, reason: error }
      this.#retry = setTimeout(() => {
        if (this.#inFlight === undefined) this.#send(this.#options.latest(), this.acked)
      }, this.#options.nackRetryMs)
    }
    this.offer()
    this.#options.onChange()
  }

  close(): void {
    clearTimeout(this.#retry)
  }

  #send(latest: Versioned, base: Versioned | undefined): void {
    const full = base === undefined
    const changes = full ? undefined : diff(base.view, latest.view)
    if (changes !== undefined && isEmpty(changes)) {
      // Nothing of this version concerns this subscriber: it holds the version already.
      this.acked = latest
      this.refused = undefined
      this.#options.history.add({
        version: base?.version ?? latest.version,
        view: latest.view,
      })
      this.#options.onChange()
      return
    }
    this.#inFlight = latest
    this.#options.history.add(latest)
    const { upserts, removals } = changes ?? everything(latest.view)
    this.#options.write({
      version: latest.version,
      epoch: this.#options.epoch,
      full,
      upserts,
      removals,
    })
  }
}

function everything(view: Resources) {
  const empty = Object.fromEntries(Object.keys(view).map((kind) => [kind, new Map()]))
  return diff(empty as unknown as Resources, view)
}
