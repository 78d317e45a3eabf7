// SPDX-License-Identifier: Apache-2.0
// Circuit breaker: how much of a service may be going on at once. What exceeds a limit is refused at once, before it becomes
// a queue that helps nobody.
import type { CircuitBreaker as Limits } from '@pillion/contract'

/** What a limit is of. */
export type BreakerLimit = 'connections' | 'pending requests' | 'requests'

const unlimited: Limits = {
  maxConnections: 0,
  maxPendingRequests: 0,
  maxRequests: 0,
  maxRetries: 0,
}

/** What is going on at one service, of all clients. */
export class CircuitBreaker {
  #limits: Limits = unlimited
  /** Connections that are being made included. */
  connections = 0
  /** Attempts without a connection. */
  pending = 0
  /** Attempts in flight. */
  requests = 0
  /** Requests that are tried again, waiting for it included. */
  retries = 0

  /** For people. */
  get going(): Readonly<Record<string, number>> {
    const { connections, pending, requests, retries } = this
    return { connections, pending, requests, retries }
  }

  /** undefined: no limit. What is going on may exceed a new limit; nothing is cut off. */
  update(limits: Limits | undefined): void {
    this.#limits = limits ?? unlimited
  }

  /** One more attempt, whatever the limits: ask first. */
  enter(): BreakerPlace {
    return new BreakerPlace(this)
  }

  /** The limit that one more attempt would exceed, as "circuit breaker: 100 requests"; undefined: none. */
  refusal(): string | undefined {
    const { maxRequests, maxPendingRequests } = this.#limits
    if (isAt(this.requests, maxRequests)) return said('requests', maxRequests)
    if (isAt(this.pending, maxPendingRequests))
      return said('pending requests', maxPendingRequests)
    return undefined
  }

  /** Counts one more request that is tried again; false: it must not be. */
  enterRetry(): boolean {
    if (isAt(this.retries, this.#limits.maxRetries)) return false
    this.retries++
    return true
  }

  /** A request that was tried again has ended. */
  leaveRetry(): void {
    this.retries--
  }

  /** The refusal of one more connection. */
  connectionRefusal(): string | undefined {
    const { maxConnections } = this.#limits
    if (isAt(this.connections, maxConnections)) return said('connections', maxConnections)
    return undefined
  }
}

/** An attempt's place in the counts: entered when made, pending until connected, given back once. */
export class BreakerPlace {
  readonly #breaker: CircuitBreaker
  #state: 'pending' | 'connected' | 'left' = 'pending'

  constructor(breaker: CircuitBreaker) {
    this.#breaker = breaker
    breaker.requests++
    breaker.pending++
  }

  connected(): void {
    if (this.#state !== 'pending') return
    this.#state = 'connected'
    this.#breaker.pending--
  }

  leave(): void {
    if (this.#state === 'left') return
    this.connected()
    this.#state = 'left'
    this.#breaker.requests--
  }
}

/**
 * The connections of one pool, counted for their service. A pool without any always gets one: otherwise idle connections to
 * other endpoints would keep a request from the endpoint that it was given to.
 */
export class ConnectionGate {
  readonly #breaker: CircuitBreaker
  #open = 0

  constructor(breaker: CircuitBreaker) {
    this.#breaker = breaker
  }

  /** Counts one more; or says why there must not be one. */
  enter(): string | undefined {
    const refusal = this.#open === 0 ? undefined : this.#breaker.connectionRefusal()
    if (refusal !== undefined) return refusal
    this.#open++
    this.#breaker.connections++
    return undefined
  }

  leave(): void {
    this.#open--
    this.#breaker.connections--
  }
}

function isAt(count: number, limit: number): boolean {
  return limit !== 0 && count >= limit
}

function said(what: BreakerLimit, limit: number): string {
  return `circuit breaker: ${limit} ${what}`
}
