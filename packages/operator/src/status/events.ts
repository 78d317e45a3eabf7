// SPDX-License-Identifier: Apache-2.0
// Events of events.k8s.io/v1: what people see in `kubectl describe`. An event is a help, not a record: one too many is dropped.
import { randomUUID } from 'node:crypto'
import type { ApiClient } from '../watch/client.ts'
import { controllerName } from './desired.ts'

/** Limits of events. */
export const eventLimits = {
  /** The same words about the same object are said again after this. */
  repeatMs: 600_000,
  /** How many may go out at once, and how soon another may. */
  burst: 25,
  refillMs: 1_000,
  remembered: 4_096,
  /** maxLength of `note`. */
  noteLength: 1_024,
} as const

export interface Regarding {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export class EventRecorder {
  /** Events that were not sent: too many, or refused by the server. */
  dropped = 0
  sent = 0
  readonly #client: ApiClient
  readonly #instance: string
  readonly #now: () => number
  readonly #said = new Map<string, number>()
  #tokens: number = eventLimits.burst
  #filledAt: number

  /** `now` is a monotonic clock in milliseconds. */
  constructor(
    client: ApiClient,
    instance: string,
    now: () => number = () => performance.now(),
  ) {
    this.#client = client
    this.#instance = instance
    this.#now = now
    this.#filledAt = now()
  }

  /** Sends a warning unless it was said lately, or too much was. Never throws. */
  async warn(regarding: Regarding, reason: string, note: string): Promise<void> {
    const key = `${regarding.uid} ${reason} ${note}`
    if (this.#isRepeated(key)) return
    if (!this.#take()) {
      this.dropped++
      return
    }
    this.#remember(key)
    const namespace = regarding.namespace === '' ? 'default' : regarding.namespace
    const at = new Date().toISOString().replace('Z', '000Z')
    try {
      await this.#client.request({
        method: 'POST',
        path: `/apis/events.k8s.io/v1/namespaces/${namespace}/events`,
        body: {
          apiVersion: 'events.k8s.io/v1',
          kind: 'Event',
          // Names of DNS subdomains have an end at 253 characters.
          metadata: {
            name: `${regarding.name.slice(0, 200)}.${randomUUID()}`,
            namespace,
          },
          eventTime: at,
          reportingController: controllerName,
          reportingInstance: this.#instance,
          action: 'Reconcile',
          type: 'Warning',
          reason,
          note: note.slice(0, eventLimits.noteLength),
          regarding,
        },
      })
      this.sent++
    } catch {
      this.dropped++
    }
  }

  #isRepeated(key: string): boolean {
    const at = this.#said.get(key)
    return at !== undefined && this.#now() - at < eventLimits.repeatMs
  }

  #remember(key: string): void {
    // Last in order: the first is then the one that was said longest ago.
    this.#said.delete(key)
    this.#said.set(key, this.#now())
    if (this.#said.size <= eventLimits.remembered) return
    for (const oldest of this.#said.keys()) {
      this.#said.delete(oldest)
      break
    }
  }

  #take(): boolean {
    const now = this.#now()
    const fresh = Math.floor((now - this.#filledAt) / eventLimits.refillMs)
    if (fresh > 0) {
      this.#tokens = Math.min(eventLimits.burst, this.#tokens + fresh)
      this.#filledAt = now
    }
    if (this.#tokens === 0) return false
    this.#tokens--
    return true
  }
}
