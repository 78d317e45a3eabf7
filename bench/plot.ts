// SPDX-License-Identifier: Apache-2.0
// A horizontal bar chart with ranges, as SVG text. Pure. Readable on light and dark pages.
import type { Spread } from './stats.ts'

export interface Bar {
  readonly label: string
  readonly value: Spread
}

const width = 760
const labelWidth = 190
const barHeight = 22
const gap = 12
const top = 48
const right = 110

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

const count = (value: number): string =>
  Math.round(value).toLocaleString('en-US').replaceAll(',', ' ')

/** The chart. Bars begin at zero, whiskers show smallest and largest; ours, by the word "gear", have the accent. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  const largest = Math.max(...bars.map(({ value }) => value.max), Number.MIN_VALUE)
  const x = (value: number): number => (value / largest) * (width - labelWidth - right)
  const height = top + bars.length * (barHeight + gap)
  const lines = bars.map(({ label, value }, i) => {
    const y = top + i * (barHeight + gap)
    const middle = y + barHeight / 2
    const [low, median, high] = [value.min, value.median, value.max].map(
      (at) => labelWidth + x(at),
    )
    const kind = label.startsWith('gear') ? 'ours' : 'other'
    return [
      `<text x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escape(label)}</text>`,
      `<rect class="${kind}" x="${labelWidth}" y="${y}" width="${x(value.median).toFixed(1)}" height="${barHeight}"/>`,
      `<path class="range" d="M${low?.toFixed(1)} ${middle}H${high?.toFixed(1)}"/>`,
      `<text class="value" x="${((high ?? median ?? 0) + 8).toFixed(1)}" y="${middle + 4}">${count(value.median)}</text>`,
    ].join('\n  ')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="13">
  <title>${escape(title)}</title>
  <style>
    .page { fill: #fff } text { fill: #1f2328 } .value { font-variant-numeric: tabular-nums }
    .ours { fill: #1a7f37 } .other { fill: #8c959f } .range { stroke: #1f2328; stroke-width: 2 }
  </style>
  <rect class="page" width="${width}" height="${height}"/>
  <text x="16" y="26" font-size="15">${escape(title)}</text>
  <text x="${width - 16}" y="26" text-anchor="end">${escape(unit)}, median and range</text>
  ${lines.join('\n  ')}
</svg>
`
}
