// SPDX-License-Identifier: Apache-2.0
// Fairness (design 6.5): no service and no client identity can take all of a worker. Counted where requests enter, before
// anything is made for them; what is over a share is refused at once.
import type { Connection } from '../exchange.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Options } from '../options.ts'
import { Buffers } from './buffers.ts'

/** Amounts in use by key, each up to one limit. Keys without use are forgotten, so the map is as small as what is going on. */
export class Quota {
  readonly #limit: number
  readonly #used: Map<number, number> = new Map()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** False: `amount` more would be over the limit, and nothing was taken. */
  take(key: number, amount = 1): boolean {
    const used = (this.#used.get(key) ?? 0) + amount
    if (used > this.#limit) return false
    this.#used.set(key, used)
    return true
  }

  /** What take() gave; exactly once. */
  give(key: number, amount = 1): void {
    const left = (this.#used.get(key) ?? 0) - amount
    if (left > 0) this.#used.set(key, left)
    else this.#used.delete(key)
  }

  used(key: number): number {
    return this.#used.get(key) ?? 0
  }
}

/** Room for the bytes that a body keeps for another attempt. */
export type ReplayRoom = {
  take(bytes: number): boolean
  give(bytes: number): void
}

/** For bodies that are never sent again. */
export const noRoom: ReplayRoom = { take: () => false, give: () => undefined }

/** The shares of one worker. */
export class Shares {
  readonly #metrics: Metrics
  readonly #connections: Quota
  readonly #worker: Quota
  readonly #identities: Quota
  readonly #services: Quota
  readonly #replay: Quota
  readonly buffers: Buffers

  constructor(options: Options, metrics: Metrics) {
    this.#metrics = metrics
    this.#connections = new Quota(options.identityConnections)
    this.#worker = new Quota(options.requests)
    this.#identities = new Quota(options.identityRequests)
    this.#services = new Quota(options.serviceRequests)
    this.#replay = new Quota(options.identityReplayBytes)
    this.buffers = new Buffers(options, metrics)
  }

  /** False: this identity has all the connections that one may have. Pair with leave(). */
  connect(identity: number): boolean {
    if (this.#connections.take(identity)) return true
    this.#metrics.counters.identityConnectionLimit++
    return false
  }

  disconnect(identity: number): void {
    this.#connections.give(identity)
  }

  /** undefined: one more request may begin, end it with leave(). Otherwise which share is used up, for the client. */
  enter({ client, service }: Connection): string | undefined {
    const { counters } = this.#metrics
    if (!this.#worker.take(0)) {
      counters.requestLimit++
      return 'requests of this worker'
    }
    if (!this.#identities.take(client.identity)) {
      this.#worker.give(0)
      counters.identityRequestLimit++
      return 'requests of this client identity'
    }
    if (!this.#services.take(service.id)) {
      this.#worker.give(0)
      this.#identities.give(client.identity)
      counters.serviceRequestLimit++
      return 'requests to this service'
    }
    return undefined
  }

  leave({ client, service }: Connection): void {
    this.#worker.give(0)
    this.#identities.give(client.identity)
    this.#services.give(service.id)
  }

  /** Where bodies of this identity keep what may be sent again. */
  replayRoom(identity: number): ReplayRoom {
    return {
      take: (bytes) => {
        if (this.#replay.take(identity, bytes)) return true
        this.#metrics.counters.replayBytesLimit++
        return false
      },
      give: (bytes) => {
        this.#replay.give(identity, bytes)
      },
    }
  }
}
