// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { FilterSeries, nobody } from '../../src/metrics/filters.ts'

t.test(
  'one series for each filter, function and outcome; those of unused filters end',
  async (t) => {
    const series = new FilterSeries()
    series.observe('a', 'request', 'done', 1)
    series.observe('a', 'request', 'done', 2)
    series.observe('a', 'request', 'threw', 1)
    series.observe('b', 'response', 'done', 1)
    series.observe(nobody, 'request', 'absent', 0)
    series.died('a')
    series.died('b')
    const seen = (): string[] =>
      [...series.samples].map(
        ({ labels, duration }) => `${Object.values(labels).join(' ')} ${duration.count}`,
      )
    t.strictSame(seen(), [
      'a request done 2',
      'a request threw 1',
      'b response done 1',
      `${nobody} request absent 1`,
    ])
    series.prune(new Set(['a']))
    t.strictSame(seen(), [
      'a request done 2',
      'a request threw 1',
      `${nobody} request absent 1`,
    ])
    t.strictSame([...series.deaths], [['a', 1]])
  },
)
