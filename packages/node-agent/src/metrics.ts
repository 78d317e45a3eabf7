// SPDX-License-Identifier: Apache-2.0
// The node's metrics: ours, and the proxy's behind them, so that a scraper needs one address a node.
import { request } from 'node:http'
import {
  Direction,
  type ApplyReport,
  type Datapath,
  type FlowEvent,
} from '@pillion/ebpf-l4'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Feature } from './features.ts'
import { isShadow, type FlowLog } from './flows.ts'
import type { Names } from './names.ts'
import { showShadow } from './shadow.ts'
import { showTraffic } from './tcp-metrics.ts'

/** The default of 10 ms wakes the process a hundred times a second, a hundredth of a CPU, to find that nothing happens. */
const loopPrecisionMs = 1000
const proxyTimeoutMs = 1000
const proxyMaxBytes = 32 * 1024 * 1024

export interface MetricsOptions {
  readonly kernel: Pick<Datapath, 'mapInfo' | 'counters' | 'dump'>
  readonly flows: Pick<FlowLog, 'lost'>
  /** As of now. */
  readonly names: () => Names
  readonly appliedVersion: () => number
  /** Empty: there is no proxy. */
  readonly proxyAdminSocket: string
  readonly features: readonly Feature[]
}

export class Metrics {
  readonly #registry = new Registry()
  readonly #options: MetricsOptions
  readonly #denied: Counter
  readonly #applyDuration: Histogram
  readonly #applyFailures: Counter

  constructor(options: MetricsOptions) {
    this.#options = options
    const registers = [this.#registry]
    collectDefaultMetrics({
      register: this.#registry,
      prefix: 'pillion_agent_',
      eventLoopMonitoringPrecision: loopPrecisionMs,
    })
    showTraffic(this.#registry, () => options.kernel.dump('pl_traffic'), options.names)
    showShadow(this.#registry, () => options.kernel.dump('pl_shadow'), options.names)
    this.#denied = new Counter({
      name: 'pillion_flows_denied_total',
      help: 'Connections and datagrams that policy refused, by the rule that did.',
      labelNames: ['direction', 'rule'],
      registers,
    })
    this.#applyDuration = new Histogram({
      name: 'pillion_apply_duration_seconds',
      help: 'From a planned configuration to the kernel having it.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    })
    this.#applyFailures = new Counter({
      name: 'pillion_apply_failures_total',
      help: 'Configurations that could not be put in force.',
      registers,
    })
    showFeatures(this.#registry, options.features)
    this.#addKernel()
  }

  /** Counts an EVENT_DENY, unless it is one that did not happen: those are summed by the kernel. */
  denied(event: FlowEvent, names: Names): void {
    if (isShadow(event)) return
    const ingress = event.direction === Direction.DIRECTION_INGRESS
    const direction = ingress ? 'ingress' : 'egress'
    this.#denied.inc({ direction, rule: names.rule(event.rule) ?? 'unknown' })
  }

  applied({ durationMs }: ApplyReport): void {
    this.#applyDuration.observe(durationMs / 1000)
  }

  applyFailed(): void {
    this.#applyFailures.inc()
  }

  /** The Prometheus text format, the proxy's families after ours. */
  async text(): Promise<string> {
    const { proxyAdminSocket } = this.#options
    const [own, proxy] = await Promise.all([
      this.#registry.metrics(),
      proxyAdminSocket === '' ? '' : fetchMetrics(proxyAdminSocket).catch(() => ''),
    ])
    return joinExpositions(own, proxy)
  }

  #addKernel(): void {
    const { kernel, flows, appliedVersion } = this.#options
    const registers = [this.#registry]
    const entries = gauge('pillion_bpf_map_entries', 'Entries of a BPF map.', ['map'])
    const maximum = gauge('pillion_bpf_map_max_entries', 'Room of a BPF map.', ['map'])
    const memory = gauge('pillion_bpf_map_memory_bytes', 'Memory of a BPF map.', ['map'])
    // One walk over the maps for all three.
    entries.collect = () => {
      for (const info of kernel.mapInfo()) {
        if (info.entries !== undefined)
          entries.gauge.set({ map: info.name }, info.entries)
        maximum.gauge.set({ map: info.name }, info.maxEntries)
        memory.gauge.set({ map: info.name }, info.memoryBytes)
      }
    }
    for (const { gauge } of [entries, maximum, memory])
      this.#registry.registerMetric(gauge)
    new Counter({
      name: 'pillion_datapath_events_total',
      help: 'What the BPF programs counted.',
      labelNames: ['event'],
      registers,
      collect() {
        this.reset()
        for (const [name, value] of Object.entries(kernel.counters())) {
          this.inc({ event: name.replace(/^COUNTER_/, '').toLowerCase() }, value)
        }
      },
    })
    new Counter({
      name: 'pillion_events_lost_total',
      help: 'Flow events that nobody saw: ring buffer full, follower too slow.',
      labelNames: ['where'],
      registers,
      collect() {
        this.reset()
        this.inc({ where: 'ring_buffer' }, kernel.counters()['COUNTER_EVENT_LOST'] ?? 0)
        this.inc({ where: 'follower' }, flows.lost)
      },
    })
    new Gauge({
      name: 'pillion_config_applied_version',
      help: 'Version of the configuration in force; 0: only what was saved, or none.',
      registers,
      collect() {
        this.set(appliedVersion())
      },
    })
  }
}

/** They do not change while the process runs. */
export function showFeatures(registry: Registry, features: readonly Feature[]): void {
  const works = new Gauge({
    name: 'pillion_feature_works',
    help: 'Whether a feature of this node works: 1; 0: it is degraded or off, see /debug/features.',
    labelNames: ['feature', 'state'],
    registers: [registry],
  })
  for (const { name, state } of features) {
    works.set({ feature: name, state }, state === 'works' ? 1 : 0)
  }
}

/** A gauge whose collect function is set later. */
function gauge(name: string, help: string, labelNames: string[]) {
  const holder = {
    collect: (): void => undefined,
    gauge: new Gauge({
      name,
      help,
      labelNames,
      registers: [],
      collect: () => {
        holder.collect()
      },
    }),
  }
  return holder
}

/** Both texts, without the second one's families that the first has too: one family must not appear twice. */
export function joinExpositions(first: string, second: string): string {
  const known = new Set([...first.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
  const kept: string[] = []
  let keeps = true
  for (const line of second.split('\n')) {
    const family = /^# (?:HELP|TYPE) (\S+)/.exec(line)?.[1]
    if (family !== undefined) keeps = !known.has(family)
    if (keeps && line !== '') kept.push(line)
  }
  return kept.length === 0 ? first : `${first.trimEnd()}\n${kept.join('\n')}\n`
}

function fetchMetrics(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request(
      { socketPath, path: '/metrics', timeout: proxyTimeoutMs },
      (res) => {
        let text = ''
        res.setEncoding('utf8')
        res.on('data', (chunk: string) => {
          text += chunk
          if (text.length > proxyMaxBytes) req.destroy(new Error('too large'))
        })
        res.on('end', () => {
          if (res.statusCode === 200) resolve(text)
          else reject(new Error(`HTTP ${res.statusCode ?? 0}`))
        })
        res.on('error', reject)
      },
    )
    req.on('timeout', () => req.destroy(new Error('timeout')))
    req.on('error', reject)
    req.end()
  })
}
