// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import t from 'tap'
import {
  datapathFeatures,
  degradedOf,
  mayTrace,
  probeExecutables,
} from '../src/features.ts'
import { showFeatures } from '../src/metrics.ts'

const root = process.getuid?.() === 0 ? false : 'needs root: the right to trace'

t.test('the right to trace is CAP_SYS_PTRACE, in the effective set', async (t) => {
  const status = (caps: string): string => `CapPrm:\tffffffffffffffff\nCapEff:\t${caps}\n`
  t.equal(mayTrace(status('000000c000081000')), true)
  t.equal(mayTrace(status('000000c000001000')), false)
  t.equal(mayTrace(''), false)
})

t.test("the host's proc and the right: it works", { skip: root }, async (t) => {
  t.match(probeExecutables('/proc'), { state: 'works' })
})

t.test("a proc that is not the host's is of no use", async (t) => {
  const dir = t.testdir()
  mkdirSync(join(dir, '2'))
  writeFileSync(join(dir, '2/comm'), 'node\n')
  for (const procDir of [dir, join(dir, 'nothing')]) {
    const feature = probeExecutables(procDir)
    t.match(feature, { state: 'degraded', reason: /does not show the processes of/ })
    t.match(degradedOf([feature]), [/^acceleration-auto: .* mount its \/proc/])
  }
})

t.test('what is not wanted is not degraded', async (t) => {
  const off = probeExecutables('')
  t.match(off, { state: 'off', reason: /accelerates nobody/ })
  t.same(degradedOf([off]), [])
})

t.test('a metric says so', async (t) => {
  const registry = new Registry()
  showFeatures(registry, [
    { name: 'a', state: 'works', reason: '' },
    { name: 'b', state: 'degraded', reason: 'x' },
  ])
  const text = await registry.metrics()
  t.match(text, /pillion_feature_works\{feature="a",state="works"\} 1/)
  t.match(text, /pillion_feature_works\{feature="b",state="degraded"\} 0/)
})

t.test('what the kernel does not allow is degraded, with what that costs', async (t) => {
  const lacking = [
    { feature: 'acceleration', reason: 'pl_sk_msg is refused: x' },
  ] as const
  const features = datapathFeatures(lacking)
  t.match(degradedOf(features), [
    'acceleration: connections on this node go by TCP, as between nodes (pl_sk_msg is refused: x)',
  ])
  t.ok(features.some(({ name, state }) => name === 'l7' && state === 'works'))
})
