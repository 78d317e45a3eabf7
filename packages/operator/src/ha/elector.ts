// SPDX-License-Identifier: Apache-2.0
// Takes part in an election: reads and writes the Lease, and says when this replica leads and when it does not any more.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { messageOf } from '../errors.ts'
import { ApiError, type ApiClient } from '../watch/client.ts'
import {
  decide,
  observe,
  recordOf,
  specOf,
  type LeaseObject,
  type LeaseRecord,
  type Observation,
} from './lease.ts'

export interface ElectorOptions {
  readonly client: ApiClient
  readonly namespace: string
  readonly name: string
  /** This replica: different for every process, a restarted one included. */
  readonly identity: string
  /** How long the others believe a holder that is silent. */
  readonly durationMs: number
  /** A holder that could not renew for so long stops to lead: less than `durationMs`, so that never two lead. */
  readonly renewDeadlineMs: number
  readonly retryMs: number
  readonly onLead: (isLeader: boolean) => void
  readonly log: Logger
}

export class Elector {
  readonly #options: ElectorOptions
  readonly #path: string
  readonly #closing = new AbortController()
  #seen: Observation | undefined
  #isLeader = false
  #renewedAt = 0
  #deadline: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(options: ElectorOptions) {
    this.#options = options
    const { namespace, name } = options
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`
  }

  /** Also false when a process that was stopped for a while has not yet noticed that its time is over. */
  get isLeader(): boolean {
    const { renewDeadlineMs } = this.#options
    return this.#isLeader && performance.now() - this.#renewedAt < renewDeadlineMs
  }

  /** Who leads, as far as it was seen; '' when nobody does. */
  get holder(): string {
    return this.#seen?.record?.holder ?? ''
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Gives the lease up, so that another replica need not wait for its end. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
    const record = this.#seen?.record
    if (!this.#isLeader || record === undefined) return
    this.#lead(false)
    const { identity, durationMs } = this.#options
    const spec = specOf('renew', record, identity, durationMs, microTime())
    // client-go releases in the same way: one second for those who look at the times.
    const released = { ...spec, holderIdentity: '', leaseDurationSeconds: 1 }
    await this.#put(record, released).catch((error: unknown) => {
      this.#options.log.warn({ error: messageOf(error) }, 'lease was not given up')
    })
  }

  async #run(): Promise<void> {
    const { retryMs, log } = this.#options
    let silent = false
    while (!this.#closing.signal.aborted) {
      try {
        await this.#step()
        silent = false
      } catch (error) {
        if (this.#closing.signal.aborted) return
        // A conflict is how a race is lost: nothing to say.
        if (!(error instanceof ApiError && error.status === 409) && !silent) {
          log.warn({ error: messageOf(error) }, 'lease cannot be read or written')
          silent = true
        }
      }
      // Jitter, so that replicas that started together do not collide for ever.
      const ms = retryMs * (0.8 + 0.4 * Math.random())
      await sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined)
    }
  }

  async #step(): Promise<void> {
    const { identity, durationMs, client } = this.#options
    const read = await this.#read()
    this.#seen = observe(this.#seen, read, performance.now())
    const decision = decide(this.#seen, identity, performance.now())
    if (decision === 'wait') {
      this.#lead(false)
      return
    }
    const askedAt = performance.now()
    const spec = specOf(decision, read, identity, durationMs, microTime())
    const written =
      read === undefined
        ? await client.request<LeaseObject>({
            method: 'POST',
            path: this.#path.slice(0, this.#path.lastIndexOf('/')),
            body: this.#object(spec),
            ...this.#limits(),
          })
        : await this.#put(read, spec)
    this.#seen = observe(this.#seen, recordOf(written), performance.now())
    // From when it was asked for: the server may have counted from then.
    this.#renewedAt = askedAt
    this.#lead(true)
  }

  async #read(): Promise<LeaseRecord | undefined> {
    try {
      const request = { path: this.#path, ...this.#limits() }
      return recordOf(await this.#options.client.request<LeaseObject>(request))
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined
      throw error
    }
  }

  async #put(record: LeaseRecord, spec: Record<string, unknown>): Promise<LeaseObject> {
    return this.#options.client.request<LeaseObject>({
      method: 'PUT',
      path: this.#path,
      body: this.#object(spec, record.resourceVersion),
      idleMs: this.#options.renewDeadlineMs / 2,
    })
  }

  #object(spec: Record<string, unknown>, resourceVersion?: string): unknown {
    const { namespace, name } = this.#options
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        namespace,
        name,
        ...(resourceVersion !== undefined && { resourceVersion }),
      },
      spec,
    }
  }

  #limits(): { signal: AbortSignal; idleMs: number } {
    // Two tries before the deadline, also against a server that does not answer.
    return {
      signal: this.#closing.signal,
      idleMs: this.#options.renewDeadlineMs / 2,
    }
  }

  #lead(isLeader: boolean): void {
    clearTimeout(this.#deadline)
    if (isLeader) {
      const { renewDeadlineMs } = this.#options
      const left = this.#renewedAt + renewDeadlineMs - performance.now()
      this.#deadline = setTimeout(() => {
        this.#options.log.error('lease was not renewed in time; another may lead now')
        this.#lead(false)
      }, left)
    }
    if (isLeader === this.#isLeader) return
    this.#isLeader = isLeader
    this.#options.log.info({ identity: this.#options.identity, isLeader }, 'election')
    this.#options.onLead(isLeader)
  }
}

/** Now as a MicroTime of meta/v1. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z')
}
