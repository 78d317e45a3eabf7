// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto'
import pino from 'pino'
import t from 'tap'
import { apiServers } from '../../../../test/support/apiserver/index.ts'
import { allocate, numberOf } from '../../src/compile/pool.ts'
import { loadSeed, seededPools, seedSecret } from '../../src/ha/numbers.ts'
import { clusterOf } from '../support/cluster.ts'

const log = pino({ level: 'silent' })

t.test('the same seed gives the same numbers, another others', async (t) => {
  const seed = randomBytes(32)
  const keys = new Set(Array.from({ length: 2_000 }, (_, i) => `key ${i}`))
  const a = allocate(seededPools(seed).identities, keys)
  let b = seededPools(seed).identities
  // Another replica learns of them one after the other, and of some that go again.
  b = allocate(b, new Set(['key 1999', 'gone']))
  b = allocate(b, new Set([...keys].toReversed()))
  t.same(new Map([...b.live].sort()), new Map([...a.live].sort()))
  t.ok([...a.live.values()].every((number) => number >= 256 && number < 2 ** 31))
  const other = allocate(seededPools(randomBytes(32)).identities, keys)
  t.not(numberOf(other, 'key 1'), numberOf(a, 'key 1'))
  const ports = allocate(seededPools(seed).servicePorts, keys)
  t.not(numberOf(ports, 'key 1'), numberOf(a, 'key 1'), 'kinds of numbers differ')
})

for (const { name, start } of apiServers()) {
  t.test(`${name}: replicas that start together agree on a seed`, async (t) => {
    const cluster = await clusterOf(t, await start(), [])
    const lines = await Promise.all([cluster.line(), cluster.line(), cluster.line()])
    const seeds = await Promise.all(
      lines.map(({ client }) => loadSeed(client, 'default', log)),
    )
    t.equal(seeds[0]?.length, 32)
    t.ok(seeds.every((seed) => seed.equals(seeds[0] ?? Buffer.alloc(0))))
    const [line] = await Promise.all([cluster.line()])
    t.same(await loadSeed(line.client, 'default', log), seeds[0], 'and later')
    const path = `/api/v1/namespaces/default/secrets/${seedSecret}`
    await cluster.admin.delete(path)
    await cluster.admin.create('/api/v1/namespaces/default/secrets', {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: seedSecret, namespace: 'default' },
      data: { seed: 'c2hvcnQ=' },
    })
    await t.rejects(loadSeed(line.client, 'default', log), {
      code: 'STATE',
      message: /has 5 bytes, not 32; delete the Secret/,
    })
  })
}
