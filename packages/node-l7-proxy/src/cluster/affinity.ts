// SPDX-License-Identifier: Apache-2.0
// Session affinity ClientIP: requests of one client address go to one endpoint of a service, until the client was silent for
// as long as the Service says or the endpoint is none that may be chosen any more.
import type { Metrics } from '../metrics/metrics.ts'
import type { Endpoint } from './endpoint.ts'
import { fnv1a, mix } from './hash.ts'

interface Session {
  readonly endpoint: Endpoint
  usedMs: number
}

/** What a choice is for. */
export interface AffinityKey {
  /** ServicePort.id of the service whose endpoints are chosen from. */
  readonly service: number
  /** Source address as the kernel saw it, 16 bytes. */
  readonly client: Buffer
}

/**
 * Which endpoint a client had last. The first choice follows from the addresses alone, so that every worker and the next
 * proxy choose the same; what is remembered keeps it when endpoints are added. At `max` sessions the one that was silent
 * longest is forgotten: that client gets the choice of a new one.
 */
export class Affinity {
  readonly #max: number
  readonly #metrics: Metrics
  /** The longest silent first. */
  readonly #sessions = new Map<string, Session>()

  constructor(max: number, metrics: Metrics) {
    this.#max = max
    this.#metrics = metrics
  }

  /** One of `ready`, undefined without any. `nowMs` is monotonic. */
  choose(
    ready: readonly Endpoint[],
    { service, client }: AffinityKey,
    timeoutMs: number,
    nowMs: number,
  ): Endpoint | undefined {
    const key = `${service}|${client.toString('latin1')}`
    const known = this.#sessions.get(key)
    this.#sessions.delete(key)
    const isValid =
      known !== undefined &&
      nowMs - known.usedMs <= timeoutMs &&
      ready.includes(known.endpoint)
    const endpoint = isValid ? known.endpoint : highest(ready, client)
    if (endpoint !== undefined) this.#remember(key, { endpoint, usedMs: nowMs })
    this.#metrics.gauges.affinitySessions = this.#sessions.size
    return endpoint
  }

  #remember(key: string, session: Session): void {
    this.#sessions.set(key, session)
    const [oldest] = this.#sessions.keys()
    if (this.#sessions.size <= this.#max || oldest === undefined) return
    this.#sessions.delete(oldest)
    this.#metrics.counters.affinityForgotten++
  }
}

/** Rendezvous hashing, by weight: an endpoint that comes or goes moves only the clients that it gets or had. */
function highest(ready: readonly Endpoint[], client: Buffer): Endpoint | undefined {
  const seed = fnv1a(client)
  let best: Endpoint | undefined
  let bestScore = -Infinity
  for (const endpoint of ready) {
    // 0 < uniform < 1; its logarithm over the weight keeps shares in proportion.
    const uniform = (mix(endpoint.hash ^ seed) + 0.5) / 2 ** 32
    const score = Math.log(uniform) / endpoint.weight
    if (score <= bestScore) continue
    best = endpoint
    bestScore = score
  }
  return best
}
