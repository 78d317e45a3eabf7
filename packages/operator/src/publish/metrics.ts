// SPDX-License-Identifier: Apache-2.0
// What the serving of nodes reports.
import { status } from '@grpc/grpc-js'
import { Counter, Gauge, type Registry } from 'prom-client'
import type { GateEvent } from './token-gate.ts'

/** Metrics of streams, tokens and certificates. */
export class PublishMetrics {
  readonly #refused: Counter<'code'>
  readonly #aged: Counter
  readonly #reviews: Counter<'result'>
  readonly #renewals: Counter<'result'>
  readonly #expiry: Gauge<'certificate'>
  streams = 0

  constructor(registry: Registry) {
    const registers = [registry]
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
