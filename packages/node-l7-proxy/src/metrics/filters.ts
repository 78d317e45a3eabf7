// SPDX-License-Identifier: Apache-2.0
// Calls of users' filters by name and outcome. Names are in the hands of many, but only those in use count, and of them as many as
// there may be threads; the others share one name.
import { durationBucketsMs, Histogram } from './series.ts'

export type FilterSample = {
  readonly labels: Readonly<Record<string, string>>
  readonly duration: Histogram
}

/** What stands for names that have no thread. */
export const nobody = '(not loaded)'

export class FilterSeries {
  readonly #samples: Map<string, FilterSample> = new Map()
  readonly #deaths: Map<string, number> = new Map()

  /** A call is over: `outcome` is "done", "answered" or a failure. */
  observe(filter: string, hook: string, outcome: string, ms: number): void {
    const key = `${filter} ${hook} ${outcome}`
    let sample = this.#samples.get(key)
    if (sample === undefined) {
      const labels = { filter, hook, outcome }
      this.#samples.set(
        key,
        (sample = { labels, duration: new Histogram(durationBucketsMs) }),
      )
    }
    sample.duration.observe(ms)
  }

  /** The thread of a filter that was in use has ended. */
  died(filter: string): void {
    this.#deaths.set(filter, (this.#deaths.get(filter) ?? 0) + 1)
  }

  get samples(): Iterable<FilterSample> {
    return this.#samples.values()
  }

  get deaths(): ReadonlyMap<string, number> {
    return this.#deaths
  }

  /** Forgets filters that nobody uses. */
  prune(names: ReadonlySet<string>): void {
    for (const [key, { labels }] of this.#samples) {
      const filter = labels['filter'] ?? ''
      if (filter !== nobody && !names.has(filter)) this.#samples.delete(key)
    }
    for (const name of this.#deaths.keys())
      if (!names.has(name)) this.#deaths.delete(name)
  }
}
