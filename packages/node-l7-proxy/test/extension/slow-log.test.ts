// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { SlowLog } from '../../src/extension/slow-log.ts'
import { until } from '../support/wait.ts'

t.test('a burst, then a trickle that says what it left out', async (t) => {
  const log = new SlowLog()
  const lines: [string, number][] = []
  const tell = (text: string): void => {
    log.tell(text, (line, dropped) => lines.push([line, dropped]))
  }
  for (let i = 0; i < 1000; i++) tell('x'.repeat(2000))
  const burst = lines.length
  t.ok(burst >= 20 && burst < 100, `${burst} lines`)
  t.equal(lines[0]?.[0].length, 1000)
  await until(() => {
    tell('later')
    return lines.length > burst
  }, 'the next line')
  t.ok((lines[burst]?.[1] ?? 0) >= 1000 - burst, 'the others are counted')
})
