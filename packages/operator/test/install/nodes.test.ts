// SPDX-License-Identifier: Apache-2.0
import { KubeConfig } from '@kubernetes/client-node'
import t from 'tap'
import { startApiServer } from '../../../../test/support/apiserver/index.ts'
import { expectedNodes, isSelected, NodeWatch } from '../../src/install/nodes.ts'
import { ApiClient } from '../../src/watch/client.ts'
import { until } from './support/installed.ts'

const fact = (labels: Record<string, string> = {}, isReady = true) => ({
  labels,
  isReady,
})

t.test('a selector is every label, with its value', async (t) => {
  const node = fact({ a: '1', b: '2' })
  t.ok(isSelected(node, undefined) && isSelected(node, {}))
  t.ok(isSelected(node, { a: '1', b: '2' }))
  t.notOk(isSelected(node, { a: '2' }) || isSelected(node, { a: '1', c: '' }))
})

t.test('nodes that should hold the configuration', async (t) => {
  const facts = new Map([
    ['in', fact({ mesh: 'yes' })],
    ['out', fact({ mesh: 'no' })],
    ['down', fact({ mesh: 'yes' }, false)],
    ['cut-off', fact({ mesh: 'yes' }, false)],
  ])
  const names = ['cut-off', 'down', 'gone', 'in', 'out']
  const expected = (connected: string[], selector = { mesh: 'yes' } as object) =>
    expectedNodes(names, facts, selector as Record<string, string>, new Set(connected))
  t.strictSame(expected([]), ['in'])
  t.strictSame(expected(['cut-off']), ['cut-off', 'in'], 'no kubelet, but a stream')
  t.strictSame(expected(['out']), ['in'], 'connected still, and left out')
  t.strictSame(expected([], {}), ['in', 'out'])
})

t.test('labels and readiness are followed; a heartbeat is no news', async (t) => {
  const server = await startApiServer()
  const admin = server.client()
  const config = new KubeConfig()
  config.loadFromString(server.kubeconfig())
  const client = new ApiClient(config)
  let changes = 0
  const limits = { pageSize: 500, backoffMinMs: 5, backoffMaxMs: 50, idleMs: 60_000 }
  const watch = new NodeWatch(client, limits, () => changes++)
  t.teardown(async () => {
    await watch.close()
    client.close()
    await server.close()
  })
  const path = '/api/v1/nodes'
  const make = (name: string) =>
    admin.create(path, { apiVersion: 'v1', kind: 'Node', metadata: { name } })
  await make('a')
  t.equal(watch.facts, undefined, 'not known yet')
  await new Promise<void>((resolve) => watch.start(resolve))
  t.match(watch.facts?.get('a'), { labels: {}, isReady: true })

  const ready = (status: string, lastHeartbeatTime: string) =>
    admin.merge(`${path}/a/status`, {
      status: { conditions: [{ type: 'Ready', status, lastHeartbeatTime }] },
    })
  await ready('False', '2026-01-01T00:00:00Z')
  await until('not ready', () => watch.facts?.get('a')?.isReady === false)
  const before = changes
  await ready('False', '2026-01-01T00:05:00Z')
  await make('b')
  await until('the next node', () => watch.facts?.has('b') === true)
  t.equal(changes, before + 1)
  await admin.merge(`${path}/a`, { metadata: { labels: { mesh: 'yes' } } })
  await until('label', () => watch.facts?.get('a')?.labels['mesh'] === 'yes')
  await admin.delete(`${path}/b`)
  await until('gone', () => watch.facts?.has('b') === false)
})
