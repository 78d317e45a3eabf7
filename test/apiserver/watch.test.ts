// SPDX-License-Identifier: Apache-2.0
// Watches: from now, from a revision, of a selection, with the beginning; and what ends them.
import type { Test } from 'tap'
import type { ApiServer } from '../support/apiserver/index.ts'
import { againstEach, configMap, namespace, object } from './support/servers.ts'

againstEach(async (t, server) => {
  await t.test('events from a revision', (t) => fromRevision(t, server))
  await t.test('a selection', (t) => selection(t, server))
  await t.test('initial events', (t) => initial(t, server))
  await t.test('time-out', (t) => timeout(t, server))
  await t.test('across a restart', (t) => restart(t, server))
})

async function fromRevision(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const path = (await namespace(client, 'from'))('configmaps')
  const a = object(await client.create(path, configMap('a')))
  const resourceVersion = a.metadata.resourceVersion ?? ''
  const b = object(await client.create(path, configMap('b')))
  object(await client.merge(`${path}/b`, { data: { k: 'v' } }))
  const watch = await client.watch(path, { resourceVersion })
  await watch.until(({ events }) => events.length === 2)
  object(await client.delete(`${path}/b`))
  await watch.until(({ events }) => events.length === 3)
  t.same(watch.summary(), ['ADDED b', 'MODIFIED b', 'DELETED b'])
  const [added, , deleted] = watch.events
  t.same(added?.object, b, 'the state of then')
  t.match(deleted?.object['data'], { k: 'v' })
  const revision = (version: string | undefined): number => Number(version)
  t.ok(
    revision(deleted?.object.metadata.resourceVersion) >
      revision(b.metadata.resourceVersion),
    'a deletion carries its own revision',
  )
  const everything = await client.watch(path)
  await everything.until(({ events }) =>
    events.some((e) => e.object.metadata.name === 'a'),
  )
  t.equal(everything.events[0]?.type, 'ADDED', 'without a revision: what exists first')
  watch.close()
  everything.close()
}

async function selection(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const path = (await namespace(client, 'selection'))('configmaps')
  const a = object(await client.create(path, configMap('a')))
  const resourceVersion = a.metadata.resourceVersion ?? ''
  const watch = await client.watch(path, { resourceVersion, labelSelector: 'in=yes' })
  const label = async (value: string | null): Promise<void> => {
    object(await client.merge(`${path}/a`, { metadata: { labels: { in: value } } }))
  }
  await label('yes')
  object(await client.merge(`${path}/a`, { data: { k: 'v' } }))
  await label(null)
  object(await client.merge(`${path}/a`, { data: { k: 'w' } }))
  await label('yes')
  object(await client.delete(`${path}/a`))
  await watch.until(({ events }) => events.length === 5)
  t.same(watch.summary(), ['ADDED a', 'MODIFIED a', 'DELETED a', 'ADDED a', 'DELETED a'])
  watch.close()
}

async function initial(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const path = (await namespace(client, 'initial'))('configmaps')
  for (const name of ['a', 'b'])
    object(await client.create(path, configMap(name, {}, { of: 'initial' })))
  const query = {
    ...{ labelSelector: 'of=initial', sendInitialEvents: true },
    ...{ resourceVersionMatch: 'NotOlderThan', allowWatchBookmarks: true },
  }
  const watch = await client.watch(path, query)
  await watch.until(({ events }) => events.some(({ type }) => type === 'BOOKMARK'))
  t.same(watch.summary(), ['ADDED a', 'ADDED b', 'BOOKMARK'])
  const bookmark = watch.events.at(-1)?.object
  t.match(bookmark, {
    ...{ kind: 'ConfigMap', apiVersion: 'v1' },
    metadata: {
      resourceVersion: /^\d+$/,
      annotations: { 'k8s.io/initial-events-end': 'true' },
    },
  })
  object(await client.create(path, configMap('c', {}, { of: 'initial' })))
  await watch.until(({ events }) => events.length === 4)
  t.equal(watch.summary().at(-1), 'ADDED c')
  watch.close()
  const { resourceVersionMatch: _, ...without } = query
  await t.rejects(client.watch(path, without), /422/)
}

async function timeout(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const path = (await namespace(client, 'timeout'))('configmaps')
  const watch = await client.watch(path, { timeoutSeconds: 1 })
  await watch.until(({ ended }) => ended)
  t.notOk(watch.summary().some((line) => line.startsWith('ERROR')))
}

async function restart(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const path = (await namespace(client, 'restart'))('configmaps')
  const a = object(await client.create(path, configMap('a')))
  const resourceVersion = a.metadata.resourceVersion ?? ''
  const watch = await client.watch(path, { resourceVersion })
  const b = object(await client.create(path, configMap('b')))
  await server.restart()
  await watch.until(({ ended }) => ended)
  const fresh = server.client()
  t.same(object(await fresh.get(`${path}/b`)), b, 'the objects are as before')
  const late = await fresh.watch(path, { resourceVersion })
  await late.until(({ ended }) => ended)
  t.match(late.events, [{ type: 'ERROR', object: { code: 410, reason: 'Expired' } }])
  const listed = object(await fresh.get(path)).metadata.resourceVersion ?? ''
  object(await fresh.merge(`${path}/b`, { data: { k: 'v' } }))
  const next = await fresh.watch(path, { resourceVersion: listed })
  await next.until(({ events }) => events.length === 1)
  t.same(next.summary(), ['MODIFIED b'])
  next.close()
}
