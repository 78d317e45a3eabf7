// SPDX-License-Identifier: Apache-2.0
// Stands before the review of tokens, so that neither many nodes at once nor somebody who guesses can wear out the API
// server: a cache, one review for each token at a time, few at once, none for peers that keep failing.
import { createHash } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { messageOf } from '../errors.ts'
import { AuthError, type Authenticate, type Identity } from './authenticate.ts'

/** Limits and their defaults. */
export const gateLimits = {
  /** How long an accepted token is believed without asking again. */
  cacheMs: 60_000,
  cacheEntries: 4_096,
  /** Reviews that run at once, and that may wait for a place. */
  running: 16,
  waiting: 1_024,
  /** A review, without its waiting. */
  reviewMs: 5_000,
  /**
   * Refused tokens of one address in one window, then no more are looked at. An agent and a proxy with a bad token and
   * their longest backoff make 24 to 48 a minute, so that a repaired token is taken at once or within the minute.
   */
  failures: 50,
  failureWindowMs: 60_000,
  peers: 4_096,
  maxTokenBytes: 8 * 1024,
} as const

export type GateLimits = { readonly [K in keyof typeof gateLimits]: number }

/** What metrics count. */
export type GateEvent = 'hit' | 'accepted' | 'refused' | 'failed' | 'limited' | 'busy'

/** Looks at a token, whatever it takes. Throws an AuthError; any other error counts as UNAVAILABLE. */
export type Review = (token: string, signal: AbortSignal) => Promise<Identity>

interface Known {
  readonly identity: Identity
  readonly until: number
}

interface Failures {
  count: number
  readonly until: number
}

export interface GateOptions {
  readonly limits?: Partial<GateLimits>
  readonly onEvent?: (event: GateEvent) => void
  /** Milliseconds that never go back. */
  readonly clock?: () => number
}

export class TokenGate {
  readonly #review: Review
  readonly #limits: GateLimits
  readonly #onEvent: (event: GateEvent) => void
  readonly #clock: () => number
  /** By hash: a core dump of this process has no tokens of nodes at rest. Oldest first. */
  readonly #known = new Map<string, Known>()
  readonly #running = new Map<string, Promise<Identity>>()
  readonly #waiting: (() => void)[] = []
  readonly #failures = new Map<string, Failures>()
  #busy = 0

  constructor(review: Review, options: GateOptions = {}) {
    this.#review = review
    this.#limits = { ...gateLimits, ...options.limits }
    this.#onEvent = options.onEvent ?? (() => undefined)
    this.#clock = options.clock ?? (() => performance.now())
  }

  readonly authenticate: Authenticate = async (token, peer) => {
    if (token === undefined) {
      throw new AuthError(
        status.UNAUTHENTICATED,
        'no token was sent: name one with --operator-token',
      )
    }
    const key = createHash('sha256').update(token).digest('base64')
    const known = this.#known.get(key)
    if (known !== undefined && known.until > this.#clock()) {
      this.#onEvent('hit')
      return known.identity
    }
    this.#known.delete(key)
    this.#refuseLimited(peer, token)
    try {
      return await this.#once(key, token)
    } catch (error) {
      if (error instanceof AuthError) {
        if (error.code !== status.UNAVAILABLE && error.code !== status.RESOURCE_EXHAUSTED)
          this.#failed(peer)
        throw error
      }
      throw new AuthError(
        status.UNAVAILABLE,
        `the token could not be looked at: ${messageOf(error).replaceAll(token, '…')}`,
        { cause: error },
      )
    }
  }

  /** Two processes of a pod have the same token: one review serves both. */
  #once(key: string, token: string): Promise<Identity> {
    let running = this.#running.get(key)
    if (running === undefined) {
      running = this.#look(key, token).finally(() => this.#running.delete(key))
      this.#running.set(key, running)
    }
    return running
  }

  async #look(key: string, token: string): Promise<Identity> {
    await this.#place()
    try {
      const identity = await this.#inTime(token)
      this.#onEvent('accepted')
      this.#remember(key, identity)
      return identity
    } catch (error) {
      const isVerdict = error instanceof AuthError && error.code !== status.UNAVAILABLE
      this.#onEvent(isVerdict ? 'refused' : 'failed')
      throw error
    } finally {
      // The place goes to the next that waits: nobody can slip in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#busy--
      else next()
    }
  }

  /** Ends in time also where the review does not heed its signal. */
  async #inTime(token: string): Promise<Identity> {
    const { reviewMs } = this.#limits
    const aborter = new AbortController()
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      const error = new Error(`no answer within ${reviewMs} ms`)
      aborter.abort(error)
      late.reject(error)
    }, reviewMs)
    try {
      return await Promise.race([this.#review(token, aborter.signal), late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  async #place(): Promise<void> {
    const { running, waiting } = this.#limits
    if (this.#busy < running) {
      this.#busy++
      return
    }
    if (this.#waiting.length >= waiting) {
      this.#onEvent('busy')
      const text = `${waiting} tokens wait to be looked at already; come back later`
      throw new AuthError(status.RESOURCE_EXHAUSTED, text)
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #remember(key: string, identity: Identity): void {
    this.#known.set(key, { identity, until: this.#clock() + this.#limits.cacheMs })
    trim(this.#known, this.#limits.cacheEntries)
  }

  #refuseLimited(peer: string, token: string): void {
    const { failures, failureWindowMs, maxTokenBytes } = this.#limits
    const found = this.#failures.get(peer)
    if (found !== undefined && found.until <= this.#clock()) this.#failures.delete(peer)
    else if (found !== undefined && found.count >= failures) {
      this.#onEvent('limited')
      const text = `${failures} tokens from ${peer} were refused; the next is looked at within ${failureWindowMs} ms`
      throw new AuthError(status.RESOURCE_EXHAUSTED, text)
    }
    if (token.length > maxTokenBytes) {
      this.#onEvent('refused')
      this.#failed(peer)
      const text = `the token is longer than ${maxTokenBytes} bytes`
      throw new AuthError(status.UNAUTHENTICATED, text)
    }
  }

  #failed(peer: string): void {
    const found = this.#failures.get(peer)
    if (found !== undefined) {
      found.count++
      return
    }
    const until = this.#clock() + this.#limits.failureWindowMs
    this.#failures.set(peer, { count: 1, until })
    trim(this.#failures, this.#limits.peers)
  }
}

function trim(map: Map<string, unknown>, limit: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= limit) return
    map.delete(oldest)
  }
}
