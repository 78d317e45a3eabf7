// SPDX-License-Identifier: Apache-2.0
// Requests by the rule that served them and the backend it chose: which HTTPRoute did this? Names of routes are in the hands
// of many, so the number of series is bounded; beyond it they share one that says "overflow".
import type { Rule } from '../route/table.ts'
import { durationBucketsMs, Histogram } from './series.ts'

export type RouteObservation = {
  /** ServicePort that was asked for. */
  readonly parent: string
  readonly rule: Rule | undefined
  /** ServicePort that the rule chose; undefined: none. */
  readonly backend: string | undefined
  readonly status: number
  /** undefined: not a gRPC call. */
  readonly grpcStatus: number | undefined
  readonly flag: string
  readonly durationMs: number
}

export type RouteSample = {
  readonly labels: Readonly<Record<string, string>>
  readonly duration: Histogram
}

/** Series of a worker at most; each is about 1 KiB and 22 lines of exposition. */
export const maxRouteSeries = 2000

const labelNames = [
  ...['parent', 'route_kind', 'route_namespace', 'route_name', 'rule', 'backend'],
  ...['response_class', 'response_flags'],
] as const

export class RouteSeries {
  readonly #byRule: WeakMap<Rule, Map<string, RouteSample>> = new WeakMap()
  readonly #all: Map<string, RouteSample> = new Map()
  readonly #max: number
  #overflow: RouteSample | undefined
  /** Requests that were counted as "overflow". */
  overflows = 0

  constructor(max: number = maxRouteSeries) {
    this.#max = max
  }

  /** Hot path: two look-ups and one short text. */
  observe(seen: RouteObservation): void {
    const { rule } = seen
    const outcome = `${classOf(seen)} ${seen.flag} ${seen.backend ?? ''}`
    const known = rule && this.#byRule.get(rule)
    const sample = known?.get(outcome) ?? this.#find(seen)
    if (sample === this.#overflow) this.overflows++
    else if (rule !== undefined && known === undefined)
      this.#byRule.set(rule, new Map([[outcome, sample]]))
    else known?.set(outcome, sample)
    sample.duration.observe(seen.durationMs)
  }

  get samples(): Iterable<RouteSample> {
    return this.#all.values()
  }

  get size(): number {
    return this.#all.size
  }

  /** Forgets series of services that are gone. */
  prune(isService: (name: string) => boolean): void {
    for (const [key, { labels }] of this.#all) {
      const parent = labels['parent'] ?? ''
      if (parent !== 'overflow' && !isService(parent)) this.#all.delete(key)
    }
  }

  #find(seen: RouteObservation): RouteSample {
    const { parent, rule, backend } = seen
    const values = [
      ...[parent, rule?.routeKind ?? 'none', rule?.routeNamespace ?? ''],
      ...[rule?.routeName ?? '', rule?.text ?? '', backend ?? 'none'],
      ...[classOf(seen), seen.flag],
    ]
    const key = values.join('\0')
    const known = this.#all.get(key)
    if (known !== undefined) return known
    if (this.#all.size < this.#max) return this.#make(key, values)
    this.#overflow ??= this.#make(
      'overflow',
      labelNames.map(() => 'overflow'),
    )
    return this.#overflow
  }

  #make(key: string, values: readonly string[]): RouteSample {
    const labels = Object.fromEntries(
      labelNames.map((name, i) => [name, values[i] ?? '']),
    )
    const sample = { labels, duration: new Histogram(durationBucketsMs) }
    this.#all.set(key, sample)
    return sample
  }
}

/** "2xx", or of gRPC "ok" and "error": numbers are in istio_requests_total. */
function classOf({ status, grpcStatus }: RouteObservation): string {
  if (grpcStatus !== undefined) return grpcStatus === 0 ? 'ok' : 'error'
  return `${Math.floor(status / 100)}xx`
}
