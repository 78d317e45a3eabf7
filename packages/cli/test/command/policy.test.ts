// SPDX-License-Identifier: Apache-2.0
// policy shadow of a cluster: against the API server stand-in, with exec that runs.
import t from 'tap'
import { mergeShadow, shadowText, type ShadowRow } from '../../src/command/policy.ts'
import { startCluster } from '../support/cluster.ts'

// Each run of the command is a process: slow on a busy machine.
t.setTimeout(110_000)

const end = (identity: number, workload: string) => ({
  ...{ identity, workload },
  name: workload === '' ? `identity ${identity}` : `shop/${workload}`,
})
const row = (rest: Partial<ShadowRow> = {}): ShadowRow => ({
  ...{ rule: 'AccessPolicy shop/api rules[0]', direction: 'ingress', count: 1 },
  ...{ source: end(300, 'web'), destination: end(301, 'api'), port: 8080 },
  ...{ protocol: 'TCP', lastTime: '2026-01-01T00:00:00.000Z', ...rest },
})
const policy = (name: string, ...rows: ShadowRow[]) => ({
  ...{ policy: `AccessPolicy shop/${name}`, rows },
})

t.test('answers of nodes are added; who knows a name tells it', async (t) => {
  const late = '2026-01-01T00:00:09.000Z'
  const merged = mergeShadow([
    [policy('b'), policy('api', row(), row({ port: 9090, count: 2 }))],
    [policy('api', row({ source: end(300, ''), count: 13, lastTime: late }))],
    [policy('api', row({ destination: end(302, '') }))],
  ])
  t.same(merged, [
    policy(
      'api',
      row({ count: 14, lastTime: late }),
      row({ port: 9090, count: 2 }),
      row({ destination: end(302, '') }),
    ),
    policy('b'),
  ])
  const unnamed = row({ source: end(300, '') })
  t.equal(
    mergeShadow([[policy('a', unnamed)], [policy('a', row())]])[0]?.rows[0]?.source.name,
    'shop/web',
  )
})

t.test('workloads that are one identity', async (t) => {
  const answers = ['a', 'b', 'a', 'c', 'd', 'e'].map((workload) => [
    policy('api', row({ source: end(300, workload) })),
  ])
  t.match(mergeShadow(answers)[0]?.rows, [
    { source: { name: 'shop/a, shop/b, shop/c, …' }, count: 6 },
  ])
})

t.test('a sentence a row', async (t) => {
  const nowMs = Date.parse('2026-01-01T00:00:03Z')
  const some = policy('api', row({ count: 14 }), row({ protocol: 'UDP', port: 53 }))
  t.equal(
    shadowText([some, policy('b')], nowMs),
    [
      'AccessPolicy shop/api rules[0] would have denied 14 connections from shop/web to shop/api port 8080/TCP, last 3 s ago',
      'AccessPolicy shop/api rules[0] would have denied 1 datagram from shop/web to shop/api port 53/UDP, last 3 s ago',
      '',
      'AccessPolicy shop/b would have denied nothing so far',
    ].join('\n'),
  )
  t.equal(shadowText([], nowMs), 'no policy is in Shadow mode')
})

t.test('policy shadow asks every node', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  const node = async (name: string, answer: object) =>
    cluster.pod(name, 'pillion-node', name, {
      agent: { '/debug/shadow': answer },
      proxy: {},
    })
  await node('node-1', { policies: [policy('api', row()), policy('b')] })
  await node('node-2', { policies: [policy('api', row({ count: 2 })), policy('b')] })
  const all = await cluster.pillion('policy', 'shadow')
  t.match(all, {
    code: 0,
    out: /rules\[0\] would have denied 3 connections from shop\/web/,
  })
  t.match(all.out, /AccessPolicy shop\/b would have denied nothing/)
  const one = await cluster.pillionJson('policy', 'shadow', 'api', '-n', 'shop')
  t.match(one, { policies: [{ policy: 'AccessPolicy shop/api', rows: [{ count: 3 }] }] })
  const none = await cluster.pillion('policy', 'shadow', 'api', '-n', 'other')
  t.match(none, { code: 1, err: /no policy "api" of namespace other is in Shadow mode/ })
  t.match(none.err, /AccessPolicy shop\/api, AccessPolicy shop\/b/)
  await cluster.pod('node-3', 'pillion-node', 'node-3', { agent: {}, proxy: {} })
  const partly = await cluster.pillion('policy', 'shadow', 'b')
  t.match(partly, { code: 1, out: /would have denied nothing/, err: /node-3/ })
})
