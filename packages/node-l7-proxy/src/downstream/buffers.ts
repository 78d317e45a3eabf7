// SPDX-License-Identifier: Apache-2.0
// The ledger of buffered bytes (design 6.5): what of requests and answers waits in memory because somebody is slow to take it.
// Nobody writes into it: exchanges that may hold something are looked at ten times a second, so that those which flow pay
// nothing, and what a library has read ahead counts as well. Who holds most of a share that is used up is given up first.
import type { RequestBody } from '../body.ts'
import type { Connection } from '../exchange.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Options } from '../options.ts'

/** Beyond a share comes what one core can read meanwhile. */
const lookMs = 100

/** An exchange that has a body, or an answer that its client has not taken. */
export type Holder = {
  readonly connection: Connection
  /** Bytes in memory now. */
  readonly held: number
  /** Ends it, and frees them; `share` says for the client which one is used up. */
  shed(share: string): void
}

/** What a responder is a holder of. */
export type Holding = {
  readonly connection: Connection
  /** Of the request; undefined: it has none. */
  readonly body: RequestBody | undefined
  readonly buffers: Buffers
}

type Share = {
  readonly text: string
  readonly limit: number
  readonly counter: 'bufferedLimit' | 'identityBufferedLimit' | 'serviceBufferedLimit'
  readonly keyOf: (connection: Connection) => number
}

export class Buffers {
  readonly #metrics: Metrics
  /** The narrow ones first: what they shed no longer counts for the whole. */
  readonly #shares: readonly Share[]
  readonly #smallest: number
  readonly #holders: Set<Holder> = new Set()
  #timer: NodeJS.Timeout | undefined

  constructor(options: Options, metrics: Metrics) {
    this.#metrics = metrics
    this.#shares = [
      {
        text: 'buffered bytes of this client identity',
        limit: options.identityBufferedBytes,
        counter: 'identityBufferedLimit',
        keyOf: ({ client }) => client.identity,
      },
      {
        text: 'buffered bytes of this service',
        limit: options.serviceBufferedBytes,
        counter: 'serviceBufferedLimit',
        keyOf: ({ service }) => service.id,
      },
      {
        text: 'buffered bytes of this worker',
        limit: options.bufferedBytes,
        counter: 'bufferedLimit',
        keyOf: () => 0,
      },
    ]
    this.#smallest = Math.min(...this.#shares.map(({ limit }) => limit))
  }

  /** Looks at it from now on; again is no harm. */
  add(holder: Holder): void {
    this.#holders.add(holder)
    this.#timer ??= setInterval(() => {
      this.#look()
    }, lookMs).unref()
  }

  remove(holder: Holder): void {
    this.#holders.delete(holder)
  }

  #look(): void {
    let sum = 0
    for (const holder of this.#holders) sum += holder.held
    this.#metrics.gauges.bufferedBytes = sum
    if (sum > this.#smallest) for (const share of this.#shares) this.#enforce(share)
    if (this.#holders.size > 0 || this.#timer === undefined) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #enforce({ text, limit, counter, keyOf }: Share): void {
    const sums = new Map<number, number>()
    const all = [...this.#holders].map((holder) => {
      const key = keyOf(holder.connection)
      const { held } = holder
      sums.set(key, (sums.get(key) ?? 0) + held)
      return { holder, key, held }
    })
    for (const { holder, key, held } of all.toSorted((a, b) => b.held - a.held)) {
      const sum = sums.get(key) ?? 0
      if (sum <= limit) continue
      sums.set(key, sum - held)
      this.#metrics.counters[counter]++
      this.#holders.delete(holder)
      holder.shed(text)
    }
  }
}
