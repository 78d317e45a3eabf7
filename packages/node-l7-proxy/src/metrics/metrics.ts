// SPDX-License-Identifier: Apache-2.0
// Every metric of the proxy, declared in one place: Istio's names and labels exactly (Kiali and the stock Grafana boards
// work unchanged), and our own with the prefix pillion_.
import { Registry } from 'prom-client'
import { counterDocs, gaugeDocs, serviceDocs } from './docs.ts'
import { histogramSamples, type Sample } from './exposition.ts'
import { FilterSeries } from './filters.ts'
import { DestinationLabels, type SourceLabels } from './labels.ts'
import { type OtelMetric, otelMetrics, OtelSeries } from './otel.ts'
import { RouteSeries } from './routes.ts'
import { durationBucketsMs, type Histogram, Series, sizeBucketsBytes } from './series.ts'
import { type ServiceMetric, ServiceSeries } from './services.ts'

type CounterName = keyof typeof counterDocs
type GaugeName = keyof typeof gaugeDocs

/** What istio_* needs of a finished request. */
export type Observation = {
  readonly source: SourceLabels
  readonly destination: DestinationLabels
  readonly status: number
  /** undefined: not a gRPC call. */
  readonly grpcStatus: number | undefined
  readonly flag: string
  readonly durationMs: number
  readonly requestBytes: number
  readonly responseBytes: number
  /** Of gRPC calls, 0 otherwise. */
  readonly requestMessages: number
  readonly responseMessages: number
}

const flags = [
  '-',
  'NR',
  'NC',
  'UH',
  'UF',
  'UC',
  'UPE',
  'UO',
  'URX',
  'UT',
  'UAEX',
  'DPE',
  'DC',
  'UR',
  'RL',
  'RLSE',
  'FI',
  'FF',
  'FA',
]

export class Metrics {
  readonly counters: Record<CounterName, number> = zeros(counterDocs)
  readonly gauges: Record<GaugeName, number> = zeros(gaugeDocs)
  readonly routes: RouteSeries = new RouteSeries()
  readonly otel: OtelSeries = new OtelSeries()
  readonly services: ServiceSeries = new ServiceSeries()
  readonly filters: FilterSeries = new FilterSeries()
  readonly #destinations: Map<string, DestinationLabels> = new Map()
  readonly #sources: Map<string, SourceLabels> = new Map()
  readonly registry: Registry = new Registry()

  constructor() {
    this.#registerIstio()
    const route = 'pillion_route_request_duration_milliseconds'
    const routeHelp = 'requests by route, rule and backend'
    this.#add(route, routeHelp, 'histogram', () =>
      [...this.routes.samples].flatMap(({ labels, duration }) =>
        histogramSamples(route, durationBucketsMs, duration, labels),
      ),
    )
    this.#plain(
      'pillion_route_series_overflow_total',
      'requests whose route has no series of its own, because there are too many',
      'counter',
      () => this.routes.overflows,
    )
    const filter = 'pillion_filter_duration_milliseconds'
    const filterHelp = 'calls of filters of users, by function and outcome'
    this.#add(filter, filterHelp, 'histogram', () =>
      [...this.filters.samples].flatMap(({ labels, duration }) =>
        histogramSamples(filter, durationBucketsMs, duration, labels),
      ),
    )
    const deaths = 'pillion_filter_deaths_total'
    const deathsHelp = 'threads of filters that ended while they were in use'
    this.#add(deaths, deathsHelp, 'counter', () =>
      [...this.filters.deaths].map(([name, value]) => ({
        labels: { filter: name },
        value,
      })),
    )
    for (const [key, [name, help]] of Object.entries(serviceDocs)) {
      this.#add(name, help, 'counter', () => this.services.samples(key as ServiceMetric))
    }
    const ejected = 'endpoints of the service that are ejected'
    this.#add('pillion_ejected_endpoints', ejected, 'gauge', () =>
      this.services.ejectedNow(),
    )
    for (const [name, help] of Object.entries(otelMetrics)) {
      this.#add(name, help, 'histogram', () => this.otel.samples(name as OtelMetric))
    }
    for (const [key, [name, help]] of Object.entries(counterDocs)) {
      this.#plain(name, help, 'counter', () => this.counters[key as CounterName])
    }
    for (const [key, [name, help]] of Object.entries(gaugeDocs)) {
      this.#plain(name, help, 'gauge', () => this.gauges[key as GaugeName])
    }
    this.#plain('pillion_memory_bytes', 'resident memory of the workers', 'gauge', () =>
      process.memoryUsage.rss(),
    )
  }

  #registerIstio(): void {
    this.#register(
      'istio_requests_total',
      'requests by source, destination and outcome',
      'counter',
      (series) => [{ labels: series.labels, value: series.duration.count }],
    )
    this.#histogram(
      'istio_request_duration_milliseconds',
      'from the head of the request to the end of the response',
      durationBucketsMs,
      (s) => s.duration,
    )
    this.#histogram(
      'istio_request_bytes',
      'bytes of request bodies',
      sizeBucketsBytes,
      (s) => s.requestBytes,
    )
    this.#histogram(
      'istio_response_bytes',
      'bytes of response bodies',
      sizeBucketsBytes,
      (s) => s.responseBytes,
    )
    this.#messages(
      'istio_request_messages_total',
      'gRPC messages that clients sent',
      (s) => s.requestMessages,
    )
    this.#messages(
      'istio_response_messages_total',
      'gRPC messages that endpoints sent',
      (s) => s.responseMessages,
    )
  }

  /** The one object for these labels. */
  destination(fields: Omit<DestinationLabels, 'series'>): DestinationLabels {
    const key = Object.values(fields).join('\0')
    let labels = this.#destinations.get(key)
    if (labels === undefined) {
      labels = new DestinationLabels(fields)
      this.#destinations.set(key, labels)
    }
    return labels
  }

  /** The one object for these labels: pods of one workload share their series. */
  source(labels: SourceLabels): SourceLabels {
    const key = Object.values(labels).join('\0')
    const known = this.#sources.get(key)
    if (known !== undefined) return known
    this.#sources.set(key, labels)
    return labels
  }

  /** Forgets destinations that nothing of `inUse` refers to: series of deleted workloads end. */
  prune(inUse: ReadonlySet<DestinationLabels>): void {
    for (const [key, labels] of this.#destinations) {
      if (!inUse.has(labels)) this.#destinations.delete(key)
    }
  }

  /** Counts a finished request. Hot path: two map look-ups, no string. */
  observe(seen: Observation): void {
    const { destination, source } = seen
    let bySource = destination.series.get(source)
    if (bySource === undefined) destination.series.set(source, (bySource = new Map()))
    const outcome =
      (seen.status * 32 + flags.indexOf(seen.flag) + 1) * 32 + (seen.grpcStatus ?? -1) + 1
    let series = bySource.get(outcome)
    if (series === undefined) bySource.set(outcome, (series = new Series(labelsOf(seen))))
    series.duration.observe(seen.durationMs)
    series.requestBytes.observe(seen.requestBytes)
    series.responseBytes.observe(seen.responseBytes)
    series.requestMessages += seen.requestMessages
    series.responseMessages += seen.responseMessages
  }

  *#series(): Generator<Series> {
    for (const destination of this.#destinations.values()) {
      for (const outcomes of destination.series.values()) yield* outcomes.values()
    }
  }

  #plain(
    name: string,
    help: string,
    type: 'counter' | 'gauge',
    read: () => number,
  ): void {
    this.#add(name, help, type, () => [{ labels: {}, value: read() }])
  }

  #register(
    name: string,
    help: string,
    type: string,
    values: (series: Series) => Sample[],
  ): void {
    this.#add(name, help, type, () => [...this.#series()].flatMap(values))
  }

  /** Only of series of gRPC calls: others have no messages. */
  #messages(name: string, help: string, read: (series: Series) => number): void {
    this.#register(name, help, 'counter', (series) => {
      const { labels } = series
      if (labels['request_protocol'] !== 'grpc') return []
      return [{ labels, value: read(series) }]
    })
  }

  #histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    pick: (series: Series) => Histogram,
  ): void {
    this.#register(name, help, 'histogram', (series) =>
      histogramSamples(name, bounds, pick(series), series.labels),
    )
  }

  /** prom-client's interface of a metric is what its registry calls: name and get(). */
  #add(name: string, help: string, type: string, values: () => Sample[]): void {
    const metric = {
      name,
      help,
      get: () => ({ name, help, type, values: values(), aggregator: 'sum' }),
    }
    this.registry.registerMetric(
      metric as unknown as Parameters<Registry['registerMetric']>[0],
    )
  }
}

function labelsOf({
  source,
  destination,
  status,
  flag,
  grpcStatus,
}: Observation): Record<string, string> {
  return {
    reporter: 'source',
    source_workload: source.workload,
    source_workload_namespace: source.namespace,
    source_principal: source.principal,
    source_app: source.app,
    source_version: source.version,
    source_cluster: 'unknown',
    source_canonical_service: source.app,
    source_canonical_revision: source.version,
    destination_workload: destination.workload,
    destination_workload_namespace: destination.namespace,
    destination_principal: destination.principal,
    destination_app: destination.app,
    destination_version: destination.version,
    destination_cluster: 'unknown',
    destination_canonical_service: destination.app,
    destination_canonical_revision: destination.version,
    destination_service: destination.service,
    destination_service_name: destination.serviceName,
    destination_service_namespace: destination.serviceNamespace,
    request_protocol: grpcStatus === undefined ? 'http' : 'grpc',
    response_code: String(status),
    grpc_response_status: grpcStatus === undefined ? '' : String(grpcStatus),
    response_flags: flag,
    connection_security_policy: 'none',
  }
}

function zeros<K extends string>(docs: Readonly<Record<K, unknown>>): Record<K, number> {
  return Object.fromEntries(Object.keys(docs).map((key) => [key, 0])) as Record<K, number>
}
