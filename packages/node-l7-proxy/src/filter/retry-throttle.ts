// SPDX-License-Identifier: Apache-2.0
// gRFC A6, what a server has to say about retries: throttling while most calls fail, and pushback.
import type { RetryThrottling } from '@pillion/contract'
import { getHeader, type Headers } from '../headers.ts'

/** The tokens of one service, for the gRPC calls of this worker. */
export class RetryThrottle {
  #rule: RetryThrottling | undefined
  #tokens = 0

  /** undefined: nothing is throttled. A changed rule begins with all its tokens. */
  update(rule: RetryThrottling | undefined): void {
    const { maxTokens, tokenMilli } = this.#rule ?? {}
    if (maxTokens !== rule?.maxTokens || tokenMilli !== rule?.tokenMilli)
      this.#tokens = rule?.maxTokens ?? 0
    this.#rule = rule
  }

  /** A call was answered with OK, or with an error that is no reason to retry. */
  succeeded(): void {
    if (this.#rule === undefined) return
    const { maxTokens, tokenMilli } = this.#rule
    this.#tokens = Math.min(maxTokens, this.#tokens + tokenMilli / 1000)
  }

  /** A try failed with a status that is retried, or its server asked for no retry. */
  failed(): void {
    if (this.#rule !== undefined) this.#tokens = Math.max(0, this.#tokens - 1)
  }

  /** False: half of the tokens or fewer are left. */
  get allows(): boolean {
    return this.#rule === undefined || this.#tokens > this.#rule.maxTokens / 2
  }
}

/**
 * What the server says in grpc-retry-pushback-ms: milliseconds to wait exactly, 'never' for a negative or unreadable
 * number, undefined for nothing.
 */
export function pushbackOf(headers: Headers): number | 'never' | undefined {
  const text = getHeader(headers, 'grpc-retry-pushback-ms')
  if (text === undefined) return undefined
  const ms = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  return Number.isNaN(ms) ? 'never' : ms
}
