// SPDX-License-Identifier: Apache-2.0
// Numbers of the hot path: typed arrays and plain fields, no label handling. prom-client reads them at scrape time.

/** Istio's buckets of istio_request_duration_milliseconds. */
export const durationBucketsMs = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000,
  600_000, 1_800_000, 3_600_000,
] as const

/** Buckets of body sizes. */
export const sizeBucketsBytes = [
  1, 64, 512, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 16_777_216, 268_435_456,
] as const

export class Histogram {
  readonly bounds: readonly number[]
  /** One more than bounds: above the last. Not cumulative. */
  readonly counts: Float64Array
  sum = 0
  count = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    const { bounds, counts } = this
    let i = 0
    while (i < bounds.length && value > (bounds[i] ?? 0)) i++
    counts[i] = (counts[i] ?? 0) + 1
    this.sum += value
    this.count++
  }
}

/** One (source, destination, outcome). */
export class Series {
  /** Labels as prom-client wants them, made once. */
  readonly labels: Readonly<Record<string, string>>
  readonly duration: Histogram = new Histogram(durationBucketsMs)
  readonly requestBytes: Histogram = new Histogram(sizeBucketsBytes)
  readonly responseBytes: Histogram = new Histogram(sizeBucketsBytes)

  /** Of gRPC calls. */
  requestMessages = 0
  responseMessages = 0

  constructor(labels: Readonly<Record<string, string>>) {
    this.labels = labels
  }
}
