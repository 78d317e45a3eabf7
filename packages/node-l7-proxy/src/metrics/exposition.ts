// SPDX-License-Identifier: Apache-2.0
// Histograms of the hot path as prom-client's registry wants them, at scrape time.
import type { Histogram } from './series.ts'

export type Sample = {
  labels: Readonly<Record<string, string | number>>
  value: number
  metricName?: string
}

/** Cumulative buckets, sum and count of the histogram `name`. */
export function histogramSamples(
  name: string,
  bounds: readonly number[],
  histogram: Histogram,
  labels: Readonly<Record<string, string>>,
): Sample[] {
  let cumulative = 0
  const samples: Sample[] = bounds.map((bound, i) => {
    cumulative += histogram.counts[i] ?? 0
    return {
      metricName: `${name}_bucket`,
      labels: { ...labels, le: bound },
      value: cumulative,
    }
  })
  samples.push(
    {
      metricName: `${name}_bucket`,
      labels: { ...labels, le: '+Inf' },
      value: histogram.count,
    },
    { metricName: `${name}_sum`, labels, value: histogram.sum },
    { metricName: `${name}_count`, labels, value: histogram.count },
  )
  return samples
}
