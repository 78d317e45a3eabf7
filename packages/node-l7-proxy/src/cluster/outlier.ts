// SPDX-License-Identifier: Apache-2.0
// Outlier ejection: an endpoint that fails gets no requests for a while. Judged by the answers that pass here alone; nothing
// is asked of anybody, and there is no timer: what is due happens with the next answer or choice.
import type { OutlierEjection, SuccessRate } from '@pillion/contract'
import type { Endpoint } from './endpoint.ts'

/** What became of an attempt. `gateway`: 502, 503, 504, or no answer; `error`: another 5xx. */
export type AttemptResult = 'good' | 'error' | 'gateway'

/** Of an HTTP status. */
export function resultOfStatus(status: number): AttemptResult {
  if (status < 500) return 'good'
  return status === 502 || status === 503 || status === 504 ? 'gateway' : 'error'
}

/** gRPC statuses by which a server says that it is in trouble, as the HTTP statuses that gateways translate them to. */
export function resultOfGrpcStatus(status: number): AttemptResult {
  // UNAVAILABLE and DEADLINE_EXCEEDED; UNKNOWN, INTERNAL and DATA_LOSS.
  if (status === 14 || status === 4) return 'gateway'
  return status === 2 || status === 13 || status === 15 ? 'error' : 'good'
}

/** What is remembered of one endpoint. */
export class EndpointHealth {
  /** In a row. */
  errors = 0
  gatewayErrors = 0
  /** In this interval. */
  good = 0
  total = 0
  /** Ejections, less one for every interval without trouble since: the next one lasts so many times longer. */
  times = 0
  ejectedUntilMs = 0
}

/** Why an endpoint is ejected and for how long, with the counts that it was judged by. */
export type Ejection = {
  readonly reason: 'failures in a row' | 'gateway failures in a row' | 'success rate'
  readonly forMs: number
  /** In a row, until now. */
  readonly errors: number
  readonly gatewayErrors: number
  /** Of this interval. */
  readonly good: number
  readonly total: number
  /** This one included; intervals without trouble take one back. */
  readonly times: number
  /** Endpoints of the service that are ejected, this one included, of so many. */
  readonly ejected: number
  readonly endpoints: number
}

/** Who is told what becomes of the endpoints of a service. */
export type EjectionObserver = {
  ejected(endpoint: Endpoint, ejection: Ejection): void
  /** Ejections began to be ignored. */
  panicked(): void
  /** The rule is gone, and with it the ejection. */
  lifted(endpoint: Endpoint): void
}

type View = {
  readonly version: number
  readonly untilMs: number
  readonly usable: readonly Endpoint[]
}

/** The endpoints of one service. `nowMs` is monotonic everywhere. */
export class OutlierDetector {
  readonly #observer: EjectionObserver
  readonly #views: WeakMap<readonly Endpoint[], View> = new WeakMap()
  #rule: OutlierEjection | undefined
  #intervalEndMs = 0
  /** Everybody is back then. */
  #lastReturnMs = 0
  #version = 0
  /** Ejected, or back since the last ejection. */
  #out: readonly Endpoint[] = []

  constructor(observer: EjectionObserver) {
    this.#observer = observer
  }

  /** undefined: nobody is ejected any more. */
  update(rule: OutlierEjection | undefined): void {
    this.#rule = rule
    this.#version++
    if (rule !== undefined) return
    for (const endpoint of this.#out) {
      endpoint.health.ejectedUntilMs = 0
      this.#observer.lifted(endpoint)
    }
    this.#out = []
  }

  /**
   * `ready` without the ejected ones; `ready` itself when too few would be left. The same list as long as the answer is the
   * same.
   */
  usable(ready: readonly Endpoint[], nowMs: number): readonly Endpoint[] {
    if (nowMs >= this.#lastReturnMs || this.#rule === undefined) return ready
    const known = this.#views.get(ready)
    if (known?.version === this.#version && nowMs < known.untilMs) return known.usable
    const view = this.#look(ready, this.#rule, nowMs)
    this.#views.set(ready, view)
    return view.usable
  }

  /** An attempt has ended. `all` are the endpoints that the service has. */
  record(
    endpoint: Endpoint,
    result: AttemptResult,
    all: readonly Endpoint[],
    nowMs: number,
  ): void {
    const rule = this.#rule
    if (rule === undefined) return
    const { health } = endpoint
    health.total++
    if (result === 'good') {
      health.good++
      health.errors = 0
      health.gatewayErrors = 0
    } else {
      health.errors++
      health.gatewayErrors = result === 'gateway' ? health.gatewayErrors + 1 : 0
      const { consecutiveErrors, consecutiveGatewayErrors } = rule
      if (consecutiveErrors > 0 && health.errors >= consecutiveErrors)
        this.#eject(endpoint, 'failures in a row', rule, all, nowMs)
      else if (
        consecutiveGatewayErrors > 0 &&
        health.gatewayErrors >= consecutiveGatewayErrors
      )
        this.#eject(endpoint, 'gateway failures in a row', rule, all, nowMs)
    }
    if (nowMs >= this.#intervalEndMs) this.#endInterval(rule, all, nowMs)
  }

  #endInterval(rule: OutlierEjection, all: readonly Endpoint[], nowMs: number): void {
    // The first interval begins with the first answer.
    const isFirst = this.#intervalEndMs === 0
    this.#intervalEndMs = nowMs + rule.intervalMs
    if (isFirst) return
    for (const endpoint of rule.successRate ? outliers(all, rule.successRate) : [])
      this.#eject(endpoint, 'success rate', rule, all, nowMs)
    for (const { health } of all) {
      health.good = 0
      health.total = 0
      // A whole interval in use, not the one in which it came back.
      const inUse = nowMs - health.ejectedUntilMs >= rule.intervalMs
      if (inUse && health.times > 0) health.times--
    }
  }

  /** Unless it is ejected already, or as many as may be are. */
  #eject(
    endpoint: Endpoint,
    reason: Ejection['reason'],
    rule: OutlierEjection,
    all: readonly Endpoint[],
    nowMs: number,
  ): void {
    const { health } = endpoint
    if (health.ejectedUntilMs > nowMs) return
    const share = Math.floor((all.length * rule.maxEjectedPercent) / 100)
    const most = all.length < 2 ? 0 : Math.max(1, share)
    const out = all.filter((each) => each.health.ejectedUntilMs > nowMs)
    if (out.length >= most) return
    this.#out = [...out, endpoint]
    const { errors, gatewayErrors, good, total } = health
    health.times++
    health.errors = 0
    health.gatewayErrors = 0
    const forMs = Math.min(
      rule.baseEjectionMs * health.times,
      Math.max(rule.maxEjectionMs, rule.baseEjectionMs),
    )
    health.ejectedUntilMs = nowMs + forMs
    this.#lastReturnMs = Math.max(this.#lastReturnMs, health.ejectedUntilMs)
    this.#version++
    this.#observer.ejected(endpoint, {
      ...{ reason, forMs, errors, gatewayErrors, good, total, times: health.times },
      ...{ ejected: out.length + 1, endpoints: all.length },
    })
  }

  #look(ready: readonly Endpoint[], rule: OutlierEjection, nowMs: number): View {
    const usable: Endpoint[] = []
    let untilMs = Infinity
    for (const endpoint of ready) {
      const { ejectedUntilMs } = endpoint.health
      if (ejectedUntilMs > nowMs) untilMs = Math.min(untilMs, ejectedUntilMs)
      else usable.push(endpoint)
    }
    const version = this.#version
    if (usable.length === ready.length) return { version, untilMs, usable: ready }
    const panics =
      usable.length === 0 || usable.length * 100 < ready.length * rule.panicPercent
    if (panics) this.#observer.panicked()
    return { version, untilMs, usable: panics ? ready : usable }
  }
}

/** PURE. Those whose share of good answers is too far below the mean of those with enough requests. */
export function outliers(
  endpoints: readonly Endpoint[],
  { minEndpoints, minRequests, deviationsPercent }: SuccessRate,
): Endpoint[] {
  const judged = endpoints.filter(({ health }) => health.total >= minRequests)
  if (judged.length < Math.max(2, minEndpoints)) return []
  const rates = judged.map(({ health }) => health.good / health.total)
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length
  const bound = mean - (Math.sqrt(variance) * deviationsPercent) / 100
  return judged.filter((_, i) => (rates[i] ?? 1) < bound)
}
