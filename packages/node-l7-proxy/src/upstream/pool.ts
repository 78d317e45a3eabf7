// SPDX-License-Identifier: Apache-2.0
// All upstream connections, keyed by (source identity, endpoint, protocol): two tenants never share one (design 4.6).
import type { ConnectionPool } from '@pillion/contract'
import { ConnectionGate } from '../cluster/breaker.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { Endpoint } from '../cluster/endpoint.ts'
import type { Datapath } from '../datapath.ts'
import { FloodPatrol } from '../limit/flood.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Options } from '../options.ts'
import type { Target } from './connector.ts'
import { Http1Upstream } from './http1.ts'
import { Http2Upstream } from './http2.ts'
import type { Upstream } from './upstream.ts'

export type UpstreamSettings = {
  readonly datapath: Datapath
  readonly target: Target
  /** "10.244.1.2:8080", for errors. */
  readonly label: string
  readonly connections: number
  readonly idleMs: number
  /** 0: no limit. */
  readonly maxAgeMs: number
  /** Of a connection; 0: no limit. */
  readonly maxRequests: number
  readonly headerBytes: number
  readonly headerFields: number
  readonly pending: number
  readonly floods: FloodPatrol
}

const sweepMs = 10_000

const noPoolRule: ConnectionPool = { idleMs: 0, maxAgeMs: 0, maxRequests: 0 }

export class UpstreamPools {
  readonly #datapath: Datapath
  readonly #options: Options
  readonly #metrics: Metrics
  readonly #pools: Map<Upstream, { endpoint: Endpoint; key: number }> = new Map()
  readonly #timer: NodeJS.Timeout
  readonly #floods: FloodPatrol

  constructor(datapath: Datapath, options: Options, metrics: Metrics) {
    this.#datapath = datapath
    this.#options = options
    this.#metrics = metrics
    this.#floods = new FloodPatrol(() => metrics.counters.upstreamFloods++)
    this.#timer = setInterval(() => {
      this.#sweep()
    }, sweepMs)
    this.#timer.unref()
  }

  /** The connections of `identity` to `endpoint`. Hot path: one look-up by number. */
  get(endpoint: Endpoint, identity: number, http2: boolean, cluster: Cluster): Upstream {
    // Made by an older rule: they carry what they carry, and end when they are idle.
    if (endpoint.poolRule !== cluster.connectionPool) {
      endpoint.poolRule = cluster.connectionPool
      endpoint.upstreams.clear()
    }
    const key = identity * 2 + (http2 ? 1 : 0)
    return (
      endpoint.upstreams.get(key) ?? this.#make(endpoint, identity, http2, cluster, key)
    )
  }

  /** True when one more call would wait in a queue that is full. */
  isFull(upstream: Upstream): boolean {
    return upstream.active >= this.#options.poolConnections + this.#options.pending
  }

  close(): void {
    clearInterval(this.#timer)
    for (const upstream of this.#pools.keys()) upstream.close()
    this.#pools.clear()
  }

  #make(
    endpoint: Endpoint,
    identity: number,
    http2: boolean,
    cluster: Cluster,
    key: number,
  ): Upstream {
    const { host, port, family } = endpoint
    const options = this.#options
    const gate = new ConnectionGate(cluster.breaker)
    const { idleMs, maxAgeMs, maxRequests } = cluster.connectionPool ?? noPoolRule
    const settings: UpstreamSettings = {
      datapath: this.#datapath,
      target: { host, port, family, identity, timeoutMs: options.connectTimeoutMs, gate },
      label: family === 6 ? `[${host}]:${port}` : `${host}:${port}`,
      connections: options.poolConnections,
      idleMs: idleMs || options.upstreamIdleMs,
      maxAgeMs,
      maxRequests,
      headerBytes: options.headerBytes,
      headerFields: options.headerFields,
      pending: options.pending,
      floods: this.#floods,
    }
    const upstream = http2 ? new Http2Upstream(settings) : new Http1Upstream(settings)
    endpoint.upstreams.set(key, upstream)
    this.#pools.set(upstream, { endpoint, key })
    this.#metrics.gauges.upstreamPools = this.#pools.size
    return upstream
  }

  /** Pools of endpoints and clients that are gone end here: nothing was asked of them for a while. */
  #sweep(): void {
    const oldest = performance.now() - this.#options.upstreamIdleMs
    for (const [upstream, { endpoint, key }] of this.#pools) {
      if (upstream.active > 0 || upstream.lastUsedMs > oldest) continue
      if (endpoint.upstreams.get(key) === upstream) endpoint.upstreams.delete(key)
      this.#pools.delete(upstream)
      upstream.close()
    }
    this.#metrics.gauges.upstreamPools = this.#pools.size
  }
}
