// SPDX-License-Identifier: Apache-2.0
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { SubscriberStatus } from './publish/publisher.ts'

/** What gauges read at scrape time. */
export interface Observed {
  readonly publisher: { readonly version: number; status(): SubscriberStatus[] }
  status(): { readonly errors: readonly unknown[] }
  counts(): ReadonlyMap<string, number>
}

/** The operator's metrics, in a registry of their own. */
export class Metrics {
  readonly registry: Registry = new Registry()
  readonly compileSeconds: Histogram
  readonly statusFailures: Counter

  constructor(observed: Observed) {
    const registers = [this.registry]
    collectDefaultMetrics({ register: this.registry })
    this.compileSeconds = new Histogram({
      name: 'pillion_operator_compile_seconds',
      help: 'Time to compile a change of objects.',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
      registers,
    })
    this.statusFailures = new Counter({
      name: 'pillion_operator_status_write_failures_total',
      help: 'STATUS files that could not be written.',
      registers,
    })
    new Gauge({
      name: 'pillion_operator_config_version',
      help: 'Version of the configuration that was published last.',
      registers,
      collect() {
        this.set(observed.publisher.version)
      },
    })
    new Gauge({
      name: 'pillion_operator_objects',
      help: 'Objects in force.',
      labelNames: ['kind'],
      registers,
      collect() {
        this.reset()
        for (const [kind, count] of observed.counts()) this.set({ kind }, count)
      },
    })
    new Gauge({
      name: 'pillion_operator_validation_errors',
      help: 'Errors of objects and files that are not in force.',
      registers,
      collect() {
        this.set(observed.status().errors.length)
      },
    })
    new Gauge({
      name: 'pillion_operator_subscribers',
      help: 'Processes of nodes, by how they stand to the latest version.',
      labelNames: ['role', 'state'],
      registers,
      collect() {
        this.reset()
        for (const subscriber of observed.publisher.status()) {
          this.inc({ role: subscriber.role, state: stateOf(subscriber) })
        }
      },
    })
  }
}

function stateOf({ connected, nack, current }: SubscriberStatus): string {
  if (!connected) return 'away'
  if (nack !== undefined) return 'refused'
  return current ? 'current' : 'behind'
}
