// SPDX-License-Identifier: Apache-2.0
// Tells people about ejected endpoints: a line when one goes and when it is back, and who is out at the moment. Judging is
// outlier.ts' business, which has no timer; the line of a return needs one, so that it does not wait for a request.
import type { Logger } from 'pino'
import { TokenBucket } from '../limit/token-bucket.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Endpoint } from './endpoint.ts'
import type { Ejection, EjectionObserver } from './outlier.ts'

/** Lines about ejections of a worker: a service whose endpoints all fail must not drown what else is said. */
export const lineRate = { requests: 20, intervalMs: 10_000, burst: 20 } as const

type Going = {
  readonly service: string
  readonly sinceMs: number
  readonly timer: NodeJS.Timeout
}

/** Of all services of a worker. */
export class Ejections {
  readonly #metrics: Metrics
  readonly #log: Logger
  readonly #bucket: TokenBucket = new TokenBucket(lineRate, performance.now())
  /** One entry and timer an ejected endpoint, so no more than there are endpoints. */
  readonly #going: Map<Endpoint, Going> = new Map()
  /** Lines since the last one that was written. */
  #leftOut = 0

  constructor(metrics: Metrics, log: Logger) {
    this.#metrics = metrics
    this.#log = log
    metrics.services.ejected = () => [...this.#going.values()].map((each) => each.service)
  }

  /** Whom the detector of a service tells. */
  of(service: string): EjectionObserver {
    const { services } = this.#metrics
    return {
      ejected: (endpoint, ejection) => {
        const { reason } = ejection
        services.add(
          reason === 'success rate' ? 'ejectionsSuccessRate' : 'ejectionsConsecutive',
          service,
        )
        this.#eject(service, endpoint, ejection)
      },
      panicked: () => {
        services.add('ejectionPanics', service)
      },
      lifted: (endpoint) => {
        this.#back(endpoint, 'outlierEjection is no longer declared')
      },
    }
  }

  /** The endpoint is gone: it will not be back. */
  forget(endpoint: Endpoint): void {
    const going = this.#going.get(endpoint)
    if (going === undefined) return
    clearTimeout(going.timer)
    this.#going.delete(endpoint)
  }

  #eject(service: string, endpoint: Endpoint, ejection: Ejection): void {
    // Its time may be over a moment before its timer is.
    this.#back(endpoint, 'its time is over')
    const timer = setTimeout(() => {
      this.#back(endpoint, 'its time is over')
    }, ejection.forMs)
    timer.unref()
    this.#going.set(endpoint, { service, sinceMs: performance.now(), timer })
    this.#say('warn', { service, endpoint: endpoint.name, ...ejection }, 'ejected')
  }

  #back(endpoint: Endpoint, why: string): void {
    const going = this.#going.get(endpoint)
    if (going === undefined) return
    this.forget(endpoint)
    const afterMs = Math.round(performance.now() - going.sinceMs)
    const { service } = going
    this.#say('info', { service, endpoint: endpoint.name, afterMs, why }, 'back')
  }

  #say(level: 'warn' | 'info', fields: object, what: 'ejected' | 'back'): void {
    if (!this.#log.isLevelEnabled(level)) return
    if (this.#bucket.waitMs(lineRate, performance.now()) > 0) {
      this.#leftOut++
      this.#metrics.counters.ejectionLinesDropped++
      return
    }
    this.#bucket.take()
    const leftOut = this.#leftOut === 0 ? undefined : this.#leftOut
    this.#leftOut = 0
    this.#log[level]({ ...fields, leftOut }, `endpoint ${what}`)
  }
}
