// SPDX-License-Identifier: Apache-2.0
// Durations of requests by OpenTelemetry's conventions, as Prometheus spells them: http.server.request.duration and
// rpc.server.call.duration. Other labels and other buckets than Istio's, so they are series of their own, and only where the
// Mesh asks for them.
import { statusName } from '../grpc/status.ts'
import type { Rule } from '../route/table.ts'
import { errorOf, isKnownMethod, isServerError, routeOf } from '../trace/conventions.ts'
import { histogramSamples, type Sample } from './exposition.ts'
import type { DestinationLabels } from './labels.ts'
import { Histogram } from './series.ts'

export type OtelObservation = {
  /** Of the Service that was asked for. */
  readonly service: DestinationLabels
  readonly method: string
  readonly path: string
  readonly rule: Rule | undefined
  readonly http2: boolean
  /** 0: none was sent. */
  readonly status: number
  /** undefined: not a gRPC call. */
  readonly grpcStatus: number | undefined
  /** Whether an endpoint said that. */
  readonly answered: boolean
  readonly flag: string
  readonly durationMs: number
}

/** The conventions' advice for both. */
export const otelBucketsSeconds = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const

/** Series of a worker at most. None makes room for another: the sum over workers would fall, which reads as a restart. */
export const maxOtelSeries = 2000

/** gRPC methods of a Service that have a name, and its length, at most: some endpoints answer whatever they are called. */
export const maxMethods = 200
const maxMethodLength = 256

/** Help by name. */
export const otelMetrics = {
  http_server_request_duration_seconds: 'duration of HTTP requests (OpenTelemetry)',
  rpc_server_call_duration_seconds: 'duration of gRPC calls (OpenTelemetry)',
} as const
export type OtelMetric = keyof typeof otelMetrics

type OtelSample = {
  readonly metric: OtelMetric
  readonly service: DestinationLabels | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly duration: Histogram
}

const unimplemented = 12

export class OtelSeries {
  readonly #all: Map<string, OtelSample> = new Map()
  readonly #methods: WeakMap<DestinationLabels, Set<string>> = new WeakMap()
  readonly #max: number

  constructor(max: number = maxOtelSeries) {
    this.#max = max
  }

  /** A request is over. One text and one look-up. */
  observe(seen: OtelObservation): void {
    const { service, rule, status, grpcStatus, flag, http2 } = seen
    const isCall = grpcStatus !== undefined
    const name = isCall ? this.#rpcMethodOf(seen) : methodOf(seen.method)
    // Calls of one method are one series, whichever rule they came by.
    const route = !isCall && rule !== undefined ? routeOf(rule) : ''
    // No more than what labels say: the same labels are the same series.
    const key = isCall
      ? `${service.service} ${grpcStatus} ${name}`
      : `${service.service} ${name} ${route} ${status} ${status < 500 ? '' : flag} ${http2 ? 2 : 1}`
    const sample = this.#all.get(key) ?? this.#make(key, seen, name, route)
    sample.duration.observe(seen.durationMs / 1000)
  }

  samples(metric: OtelMetric): Sample[] {
    return [...this.#all.values()]
      .filter((sample) => sample.metric === metric)
      .flatMap(({ labels, duration }) =>
        histogramSamples(metric, otelBucketsSeconds, duration, labels),
      )
  }

  get size(): number {
    return this.#all.size
  }

  /** Forgets series of Services that are gone. */
  prune(inUse: ReadonlySet<DestinationLabels>): void {
    for (const [key, { service }] of this.#all)
      if (service !== undefined && !inUse.has(service)) this.#all.delete(key)
  }

  /**
   * Clients can call anything, and series stay: a method has a name once an endpoint has answered a call of it, and keeps it
   * for calls that end before one does.
   */
  #rpcMethodOf({ service, path, grpcStatus, answered }: OtelObservation): string {
    const question = path.indexOf('?')
    const name = path.slice(1, question < 0 ? undefined : question)
    let known = this.#methods.get(service)
    if (known?.has(name)) return name
    if (!answered || grpcStatus === unimplemented) return '_OTHER'
    if (known === undefined) this.#methods.set(service, (known = new Set()))
    if (known.size >= maxMethods || name.length > maxMethodLength) return '_OTHER'
    known.add(name)
    return name
  }

  #make(key: string, seen: OtelObservation, name: string, route: string): OtelSample {
    const metric: OtelMetric =
      seen.grpcStatus === undefined
        ? 'http_server_request_duration_seconds'
        : 'rpc_server_call_duration_seconds'
    if (this.#all.size >= this.#max) return this.#overflow(metric)
    const labels = labelsOf(seen, name, route)
    return this.#add(key, { metric, service: seen.service, labels })
  }

  /** The label is what OpenTelemetry's SDKs say there. */
  #overflow(metric: OtelMetric): OtelSample {
    const labels = { otel_metric_overflow: 'true' }
    return (
      this.#all.get(metric) ?? this.#add(metric, { metric, service: undefined, labels })
    )
  }

  #add(key: string, fields: Omit<OtelSample, 'duration'>): OtelSample {
    const sample = { ...fields, duration: new Histogram(otelBucketsSeconds) }
    this.#all.set(key, sample)
    return sample
  }
}

function methodOf(method: string): string {
  return isKnownMethod(method) ? method : '_OTHER'
}

/** Attributes that do not apply are left out, as exporters do. */
function labelsOf(
  { service, status, grpcStatus, flag, http2 }: OtelObservation,
  name: string,
  route: string,
): Record<string, string> {
  const isError = isServerError(status, grpcStatus)
  const common = {
    server_address: service.service,
    ...(isError ? { error_type: errorOf(status, flag, grpcStatus) } : {}),
  }
  if (grpcStatus !== undefined)
    return {
      ...{ rpc_system_name: 'grpc', rpc_method: name },
      ...{ rpc_status_code: statusName(grpcStatus), ...common },
    }
  return {
    ...{ http_request_method: name, url_scheme: 'http' },
    network_protocol_version: http2 ? '2' : '1.1',
    ...(status === 0 ? {} : { http_response_status_code: String(status) }),
    ...(route === '' ? {} : { http_route: route }),
    ...common,
  }
}
