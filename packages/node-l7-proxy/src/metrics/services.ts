// SPDX-License-Identifier: Apache-2.0
// What the limits of a service did, by service: whose limit is it? Names of services are in the hands of many, so a worker
// keeps a bounded number of them; further ones share a series that says "overflow".
import { serviceDocs } from './docs.ts'

export type ServiceMetric = keyof typeof serviceDocs

export type ServiceSample = {
  readonly labels: Readonly<Record<string, string>>
  value: number
}

/** Services with series of their own; a service has a dozen at most, and most have none. */
export const maxServices = 1000

const overflow = 'overflow'

export class ServiceSeries {
  readonly #samples: Map<ServiceMetric, Map<string, ServiceSample>> = new Map()
  readonly #services: Set<string> = new Set()
  readonly #max: number
  /** Names the service of each endpoint that is ejected now. Set by whoever knows. */
  ejected: () => Iterable<string> = () => []

  constructor(max: number = maxServices) {
    this.#max = max
  }

  /** Counts one; a series is there from its first on. `outcome`: a label more, of metrics that have it. */
  add(metric: ServiceMetric, service: string, outcome?: string): void {
    let samples = this.#samples.get(metric)
    if (samples === undefined) this.#samples.set(metric, (samples = new Map()))
    const label = this.#label(service)
    const key = outcome === undefined ? label : `${label} ${outcome}`
    const known = samples.get(key)
    if (known !== undefined) known.value++
    else {
      const more = outcome === undefined ? {} : { outcome }
      samples.set(key, { labels: { service: label, ...more }, value: 1 })
    }
  }

  samples(metric: ServiceMetric): ServiceSample[] {
    return [...(this.#samples.get(metric)?.values() ?? [])]
  }

  /** Endpoints that are ejected now; 0 for services that had ejections, so that an alert ends. */
  ejectedNow(): ServiceSample[] {
    const counts = new Map<string, number>()
    for (const metric of ['ejectionsConsecutive', 'ejectionsSuccessRate'] as const) {
      for (const { labels } of this.samples(metric))
        counts.set(labels['service'] ?? '', 0)
    }
    for (const service of this.ejected()) {
      const label = this.#label(service)
      counts.set(label, (counts.get(label) ?? 0) + 1)
    }
    return [...counts].map(([service, value]) => ({ labels: { service }, value }))
  }

  /** Forgets series of services that are gone. */
  prune(isService: (name: string) => boolean): void {
    const gone = [...this.#services].filter((name) => !isService(name))
    for (const name of gone) this.#services.delete(name)
    for (const samples of gone.length === 0 ? [] : this.#samples.values()) {
      for (const [key, { labels }] of samples) {
        if (gone.includes(labels['service'] ?? '')) samples.delete(key)
      }
    }
  }

  #label(service: string): string {
    if (this.#services.has(service)) return service
    if (this.#services.size >= this.#max) return overflow
    this.#services.add(service)
    return service
  }
}
