// SPDX-License-Identifier: Apache-2.0
// One serving process. It owns nothing that the others need: when it dies, its requests in flight are all that is lost.
import { formatEndpoint, parseAddress } from '@pillion/contract'
import pino, { type Logger } from 'pino'
import { Verifier } from './authorize/verifier.ts'
import { Affinity } from './cluster/affinity.ts'
import { Ejections } from './cluster/ejections.ts'
import { ConfigStore } from './config/config.ts'
import type { Datapath } from './datapath.ts'
import { Http1Server } from './downstream/http1.ts'
import { Http2Server } from './downstream/http2.ts'
import { Listener } from './downstream/listener.ts'
import { Shares } from './downstream/quota.ts'
import { drain } from './drain.ts'
import { FilterLibrary } from './extension/library.ts'
import { namesOf } from './extension/use.ts'
import { applyUpserts, goneFrom, type FromWorker, type ToWorker } from './ipc.ts'
import { GlobalLimits } from './limit/global-limits.ts'
import { Metrics } from './metrics/metrics.ts'
import type { Options } from './options.ts'
import { ProxyState } from './gen/layout.ts'
import { Pipeline } from './pipeline.ts'
import { Telemetry } from './telemetry.ts'
import { SpanExporter } from './trace/exporter.ts'
import { UpstreamPools } from './upstream/pool.ts'

/** Descriptors 0 to 2 are standard, 3 is the channel; the listening ones follow. */
const firstListenFd = 4

/** What draining waits for the collector, beyond its own time. */
const spanFlushMs = 1000

export class Worker {
  readonly #options: Options
  readonly #datapath: Datapath
  readonly #log: Logger
  readonly #metrics: Metrics = new Metrics()
  readonly #config: ConfigStore
  readonly #pools: UpstreamPools
  readonly #http1: Http1Server
  readonly #http2: Http2Server
  readonly #listener: Listener
  readonly #listenFds: readonly number[]
  readonly #verifier: Verifier
  readonly #limits: GlobalLimits
  readonly #exporter: SpanExporter
  readonly #library: FilterLibrary
  #heart: NodeJS.Timeout | undefined
  #heartFailed = false
  #serving = false
  #draining = false

  constructor(options: Options, datapath: Datapath) {
    this.#options = options
    this.#datapath = datapath
    this.#log = pino(
      { level: options.logLevel, base: { node: options.node, pid: process.pid } },
      pino.destination({ dest: 1, sync: false, minLength: 0 }),
    )
    const ejections = new Ejections(this.#metrics, this.#log)
    const { node, limitKeys } = options
    this.#config = new ConfigStore(this.#metrics, node, limitKeys, ejections)
    this.#verifier = new Verifier(options.jwksDir)
    this.#library = new FilterLibrary(options, this.#metrics, this.#log)
    this.#exporter = new SpanExporter(this.#metrics, {
      'service.name': 'pillion-proxy',
      'k8s.node.name': options.node,
      'process.pid': process.pid,
    })
    this.#pools = new UpstreamPools(datapath, options, this.#metrics)
    const upstream = { config: this.#config, pools: this.#pools, metrics: this.#metrics }
    this.#limits = new GlobalLimits(upstream, options.limitCalls)
    const pipeline = new Pipeline({
      ...upstream,
      limits: this.#limits,
      affinity: new Affinity(options.affinitySessions, this.#metrics),
      verifier: this.#verifier,
      library: this.#library,
      telemetry: new Telemetry(this.#metrics, this.#exporter, this.#log),
      isDraining: () => this.#draining,
    })
    const shares = new Shares(options, this.#metrics)
    this.#http1 = new Http1Server(pipeline, options, shares, this.#metrics)
    this.#http2 = new Http2Server(pipeline, options, shares, this.#metrics)
    this.#listener = new Listener(
      datapath,
      this.#config,
      this.#metrics,
      options,
      shares,
      this.#http1,
      this.#http2,
    )
    this.#listenFds = options.listen.split(',').map((_, i) => firstListenFd + i)
  }

  run(): void {
    process.on('message', (message: ToWorker) => {
      this.#onMessage(message)
    })
    // The parent is gone: nobody would configure, observe or stop us, and its successor needs the port.
    process.on('disconnect', () => {
      process.exit(1)
    })
    process.on('uncaughtException', (error) => {
      // Never serve on in an unknown state; the parent starts another one.
      this.#log.fatal({ err: error }, 'unexpected error')
      this.#log.flush()
      process.exit(70)
    })
  }

  #onMessage(message: ToWorker): void {
    switch (message.type) {
      case 'config':
        this.#configure(message)
        break
      case 'drain':
        void this.#drain(message.succeeded)
        break
      case 'ask':
        void this.#answer(message.seq, message.what)
        break
    }
  }

  #configure(message: Extract<ToWorker, { type: 'config' }>): void {
    try {
      const held = this.#config.resources
      const { upserts } = message
      const removals = message.full ? goneFrom(held, upserts) : message.removals
      const { resources, changes } = applyUpserts(held, upserts, removals)
      this.#config.update(resources, changes)
      this.#exporter.collector = this.#config.current.traceCollector
      if (changes.has('routeTable'))
        this.#library.use(namesOf(this.#config.current.byName.values()))
      if (changes.has('l7Policy')) this.#verifier.prune(this.#config.current.policies)
      send({ type: 'applied', seq: message.seq, error: undefined })
    } catch (error) {
      this.#metrics.counters.configRefused++
      this.#log.error(
        { err: error },
        'configuration refused, the last one stays in force',
      )
      send({
        type: 'applied',
        seq: message.seq,
        error: error instanceof Error ? error.message : String(error),
      })
      return
    }
    this.#listener.release()
    if (!this.#serving && !this.#draining) void this.#serve()
  }

  /** Without a configuration nothing is accepted: what comes waits in the backlog, or is the predecessor's to take. */
  async #serve(): Promise<void> {
    this.#serving = true
    await this.#listener.listen(this.#listenFds)
    send({ type: 'listening' })
    if (!this.#draining) this.#startHeart()
  }

  #startHeart(): void {
    this.#beat(ProxyState.PROXY_SERVING)
    this.#heart = setInterval(() => {
      this.#beat(ProxyState.PROXY_SERVING)
    }, this.#options.heartbeatMs)
  }

  #beat(state: ProxyState): void {
    const fd = this.#listenFds[0]
    if (fd === undefined) return
    try {
      this.#datapath.heartbeat(fd, state, process.pid)
      this.#heartFailed = false
    } catch (error) {
      if (!this.#heartFailed)
        this.#log.warn(
          { err: error },
          'heartbeat refused: the kernel sends no connections here',
        )
      this.#heartFailed = true
    }
  }

  async #drain(succeeded: boolean): Promise<void> {
    if (this.#draining) return
    this.#draining = true
    if (this.#heart !== undefined) {
      clearInterval(this.#heart)
      if (!succeeded) this.#beat(ProxyState.PROXY_DRAINING)
    }
    const stopAccepting = (): void => {
      this.#listener.stop()
      send({ type: 'stopped' })
    }
    const cut = await drain(
      stopAccepting,
      this.#http1,
      this.#http2,
      this.#metrics,
      this.#options.drainTimeoutMs,
    )
    this.#log.info({ cut }, 'drained')
    this.#http1.close()
    this.#http2.close()
    this.#pools.close()
    this.#library.close()
    await this.#exporter.close(spanFlushMs)
    this.#log.flush()
    setImmediate(() => {
      process.exit(0)
    })
  }

  async #answer(seq: number, what: 'metrics' | 'config'): Promise<void> {
    const value =
      what === 'metrics' ? await this.#metrics.registry.getMetricsAsJSON() : this.#dump()
    send({ type: 'answer', seq, value })
  }

  /** What is in force, as values that people can read. */
  #dump(): unknown {
    const { current, received } = this.#config
    return {
      received,
      draining: this.#draining,
      traceSampleRatio: current.traceSampleRatio,
      accessLog: current.accessLog,
      traceCollector: current.traceCollector,
      traceProblem: this.#exporter.problem,
      keyProblems: this.#verifier.problems(),
      rateLimitProblem: this.#limits.problem,
      filters: this.#library.dump(),
      services: [...current.byName.values()].map((service) => ({
        name: service.name,
        id: service.id,
        protocol: service.protocol,
        budget: service.table.budget,
        routes: service.table.producer.map(readable),
        consumerRoutes: Object.fromEntries(
          [...service.table.consumer].map(([namespace, rules]) => [
            namespace,
            rules.map(readable),
          ]),
        ),
        affinityMs: service.affinityMs,
        traffic: service.cluster.traffic,
        going: service.cluster.breaker.going,
        endpoints: service.ready.map((endpoint) => ({
          address: formatEndpoint(parseAddress(endpoint.host), endpoint.port),
          weight: endpoint.weight,
          active: endpoint.active,
          ejectedMs: Math.max(0, endpoint.health.ejectedUntilMs - performance.now()),
          pools: endpoint.upstreams.size,
        })),
      })),
    }
  }
}

/** Sets have no JSON form. */
function readable(value: object): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, each: unknown) =>
      each instanceof Set ? [...each] : each,
    ),
  )
}

function send(message: FromWorker): void {
  process.send?.(message)
}
