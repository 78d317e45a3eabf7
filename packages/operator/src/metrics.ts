// SPDX-License-Identifier: Apache-2.0
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { WatchStatus } from './watch/kubernetes.ts'
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
    // The default of 10 ms wakes an idle process a hundred times a second.
    collectDefaultMetrics({
      register: this.registry,
      eventLoopMonitoringPrecision: 1000,
    })
    this.compileSeconds = new Histogram({
      name: 'pillion_operator_compile_seconds',
      help: 'Time to compile a change of objects.',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
      registers,
    })
    this.statusFailures = new Counter({
      name: 'pillion_operator_status_write_failures_total',
      help: 'Attempts to write status that failed as a whole.',
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

/** What the metrics of the Kubernetes source read at scrape time. */
export interface WatchObserved {
  readonly installer: { readonly counts: Readonly<Record<string, number>> }
  readonly source: { stats(): WatchStatus[] }
  readonly status: {
    readonly writes: ReadonlyMap<string, number>
    readonly failures: number
  }
  readonly events: { readonly sent: number; readonly dropped: number }
  readonly elector: { readonly isLeader: boolean }
}

type Row = readonly [
  type: typeof Counter | typeof Gauge,
  name: string,
  help: string,
  value: (status: WatchStatus) => number,
]

const watchRows: readonly Row[] = [
  [Counter, 'lists_total', 'Lists that were asked for.', ({ lists }) => lists],
  [Counter, 'events_total', 'Changes that watches reported.', ({ events }) => events],
  [Counter, 'bookmarks_total', 'Bookmarks of watches.', ({ bookmarks }) => bookmarks],
  [
    Counter,
    'restarts_total',
    'Watches that ended, also as the server ends them every few minutes.',
    ({ restarts }) => restarts,
  ],
  [
    Counter,
    'expired_total',
    'Watches whose version was too old (410 Gone): the kind was listed again.',
    ({ expired }) => expired,
  ],
  [Gauge, 'connected', 'Whether a watch is open.', ({ connected }) => Number(connected)],
  [
    Gauge,
    'lag_seconds',
    'Time since the server last said something of the kind; a bookmark comes about once a minute.',
    ({ silentMs }) => silentMs / 1000,
  ],
  [Gauge, 'objects', 'Objects held in memory.', ({ objects }) => objects],
]

/** Adds the metrics of the Kubernetes source, of status writes and of the election. */
export function registerWatchMetrics(registry: Registry, observed: WatchObserved): void {
  const registers = [registry]
  for (const [Type, name, help, value] of watchRows) {
    new Type({
      name: `pillion_operator_watch_${name}`,
      help,
      labelNames: ['kind'],
      registers,
      collect() {
        this.reset()
        for (const status of observed.source.stats())
          this.inc({ kind: status.kind }, value(status))
      },
    })
  }
  const count = (name: string, help: string, values: () => readonly [string, number][]) =>
    new Counter({
      name: `pillion_operator_${name}_total`,
      help,
      labelNames: ['what'],
      registers,
      collect() {
        this.reset()
        for (const [what, value] of values()) this.inc({ what }, value)
      },
    })
  count('status_writes', 'Writes of status, by kind, and those that failed.', () => [
    ...observed.status.writes,
    ['failed', observed.status.failures],
  ])
  count(
    'events',
    'Events for people: sent, and dropped by the limits or the server.',
    () => [
      ['sent', observed.events.sent],
      ['dropped', observed.events.dropped],
    ],
  )
  count(
    'installation',
    'Node pods replaced, roll-outs halted, steps that failed and were tried again.',
    () => Object.entries(observed.installer.counts),
  )
  new Gauge({
    name: 'pillion_operator_leader',
    help: 'Whether this replica leads.',
    registers,
    collect() {
      this.set(Number(observed.elector.isLeader))
    },
  })
}
