// SPDX-License-Identifier: Apache-2.0
// What the serving of nodes reports.
import { status } from '@grpc/grpc-js'
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Publisher } from './publisher.ts'
import type { GateEvent } from './token-gate.ts'

/** Metrics of streams, tokens and certificates. */
export class PublishMetrics {
  readonly #refused: Counter<'code'>
  readonly #aged: Counter
  readonly #reviews: Counter<'result'>
  readonly #renewals: Counter<'result'>
  readonly #expiry: Gauge<'certificate'>
  streams = 0
  /** Set by who serves it. */
  publisher: Pick<Publisher, 'turns' | 'starts'> | undefined

  constructor(registry: Registry) {
    const registers = [registry]
    this.#deltas(registers)
    const observed = (): number => this.streams
    new Gauge({
      name: 'pillion_operator_streams',
      help: 'Streams of agents and proxies that are open, not yet accepted ones included.',
      registers,
      collect() {
        this.set(observed())
      },
    })
    this.#refused = new Counter({
      name: 'pillion_operator_streams_refused_total',
      help: 'Streams that were refused, by gRPC status.',
      labelNames: ['code'],
      registers,
    })
    this.#aged = new Counter({
      name: 'pillion_operator_streams_aged_total',
      help: 'Streams that ended at their greatest age.',
      registers,
    })
    this.#reviews = new Counter({
      name: 'pillion_operator_tokens_total',
      help: 'Tokens: hit (cached), accepted, refused, failed (not looked at), limited (peer failed too often), busy.',
      labelNames: ['result'],
      registers,
    })
    this.#renewals = new Counter({
      name: 'pillion_operator_certificate_renewals_total',
      help: 'Times that certificates were made or taken over (renewed), or could not be (failed).',
      labelNames: ['result'],
      registers,
    })
    this.#expiry = new Gauge({
      name: 'pillion_operator_certificate_expiry_seconds',
      help: 'When a certificate ends, in seconds since 1970.',
      labelNames: ['certificate'],
      registers,
    })
  }

  #deltas(registers: Registry[]): void {
    const observed = (): PublishMetrics['publisher'] => this.publisher
    new Gauge({
      name: 'pillion_operator_large_deltas',
      help: 'Deltas of more than 1000 resources: on their way (sent), or held back by --large-deltas (waiting).',
      labelNames: ['state'],
      registers,
      collect() {
        const turns = observed()?.turns
        this.set({ state: 'sent' }, turns?.taken ?? 0)
        this.set({ state: 'waiting' }, turns?.waiting ?? 0)
      },
    })
    new Counter({
      name: 'pillion_operator_streams_started_total',
      help: 'Streams by what they went on from: version (known here), summary (of what the node holds), nothing.',
      labelNames: ['from'],
      registers,
      collect() {
        this.reset()
        for (const [from, count] of Object.entries(observed()?.starts ?? {}))
          this.inc({ from }, count)
      },
    })
  }

  refused(code: status): void {
    this.#refused.inc({ code: status[code] })
  }

  aged(): void {
    this.#aged.inc()
  }

  token(result: GateEvent): void {
    this.#reviews.inc({ result })
  }

  renewal(result: 'renewed' | 'failed'): void {
    this.#renewals.inc({ result })
  }

  /** `ca` and `serving`: ends in milliseconds since 1970. */
  expiry(ends: Readonly<Record<'ca' | 'serving', number>>): void {
    for (const [certificate, ms] of Object.entries(ends))
      this.#expiry.set({ certificate }, ms / 1000)
  }
}
