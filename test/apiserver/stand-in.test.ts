// SPDX-License-Identifier: Apache-2.0
// What only the stand-in can do: lose its history, be slow, fail on demand, tell who called what.
import t, { type Test } from 'tap'
import {
  startApiServer,
  userNamed,
  type ApiServerOptions,
  type StandIn,
} from '../support/apiserver/index.ts'
import { configMap, eventually, names, object } from './support/servers.ts'

const path = '/api/v1/namespaces/default/configmaps'

async function started(t: Test, options: ApiServerOptions = {}): Promise<StandIn> {
  const server = await startApiServer(options)
  t.teardown(() => server.close())
  return server
}

t.test('compaction: 410 to watches and pages of before', async (t) => {
  const server = await started(t)
  const client = server.client()
  for (const name of ['a', 'b', 'c']) object(await client.create(path, configMap(name)))
  const first = object(await client.get(path, { limit: 1 }))
  object(await client.merge(`${path}/c`, { data: { k: 'v' } }))
  const current = await client.watch(path, { resourceVersion: String(server.revision) })
  const resourceVersion = String(server.revision - 1)
  server.compact()

  const late = await client.watch(path, { resourceVersion })
  await late.until(({ ended }) => ended)
  t.match(late.events, [
    { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } },
  ])
  const exact = { resourceVersion, resourceVersionMatch: 'Exact' }
  t.match(await client.get(path, exact), { code: 410, body: { reason: 'Expired' } })
  const page = await client.get(path, {
    limit: 1,
    continue: String(first.metadata['continue']),
  })
  t.match(page, { code: 410, body: { reason: 'Expired', metadata: { continue: /./ } } })
  const { continue: token } = page.body['metadata'] as { continue: string }
  t.same(
    names(await client.get(path, { continue: token })),
    ['b', 'c'],
    'inconsistent, but on',
  )

  object(await client.create(path, configMap('d')))
  await current.until(({ events }) => events.length === 1)
  t.same(current.summary(), ['ADDED d'], 'a watch that was up to date goes on')
})

t.test('history is bounded', async (t) => {
  const server = await started(t, { historyLimit: 20 })
  const client = server.client()
  const resourceVersion = String(server.revision)
  for (let i = 0; i < 30; i++) object(await client.create(path, configMap(`c${i}`)))
  const watch = await client.watch(path, { resourceVersion })
  await watch.until(({ ended }) => ended)
  t.match(watch.events[0], { type: 'ERROR', object: { code: 410 } })
})

t.test('bookmarks', async (t) => {
  const server = await started(t, { bookmarkMs: 20 })
  const client = server.client()
  const watch = await client.watch(path, { allowWatchBookmarks: true })
  const other = '/api/v1/namespaces/default/secrets'
  object(await client.create(other, { ...configMap('s'), kind: 'Secret' }))
  const revision = String(server.revision)
  await watch.until(({ events }) =>
    events.some(
      (e) => e.type === 'BOOKMARK' && e.object.metadata.resourceVersion === revision,
    ),
  )
  t.pass('a bookmark moves with what others write')
  const silent = await client.watch(path)
  object(await client.create(path, configMap('a')))
  await silent.until(({ events }) => events.length === 1)
  t.same(silent.summary(), ['ADDED a'], 'who did not ask gets none')
})

t.test('slow watches, cut watches', async (t) => {
  const server = await started(t)
  const client = server.client()
  const watch = await client.watch(path)
  await eventually(async () => (server.openWatches === 1 ? true : undefined))
  server.slowWatch(50)
  for (const name of ['a', 'b', 'c']) object(await client.create(path, configMap(name)))
  t.ok(watch.events.length < 3, 'writers do not wait for watches')
  await watch.until(({ events }) => events.length === 3)
  object(await client.create(path, configMap('d')))
  object(await client.create(path, configMap('e')))
  server.compact()
  await watch.until(({ ended }) => ended)
  t.match(watch.events.at(-1), { type: 'ERROR', object: { code: 410 } }, 'overtaken')
  server.slowWatch(0)
  const next = await client.watch(path)
  server.closeWatches()
  await next.until(({ ended }) => ended)
  await eventually(async () => (server.openWatches === 0 ? true : undefined))
  t.pass('cut')
})

t.test('pause, failures, restart on the same port', async (t) => {
  const server = await started(t)
  const client = server.client()
  object(await client.create(path, configMap('a')))
  server.pause()
  let answered = false
  const asked = client.get(path).then((reply) => {
    answered = true
    return reply
  })
  // Nothing marks the moment at which an answer fails to come: an unpaused server needs 2 ms for one.
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.notOk(answered, 'hangs')
  server.resume()
  t.same(names(await asked).includes('a'), true)

  server.failNext(2, 503, ({ verb }) => verb === 'list')
  t.equal((await client.get(`${path}/a`)).code, 200)
  t.equal((await client.get(path)).code, 503)
  t.match(await client.get(path), { code: 503, body: { kind: 'Status' } })
  t.equal((await client.get(path)).code, 200)

  await server.stop()
  await t.rejects(client.get(path), { code: /ECONNREFUSED|ECONNRESET/ })
  await server.start()
  t.equal((await client.get(path)).code, 200)
})

t.test('calls are recorded, tokens are given and taken', async (t) => {
  const server = await started(t)
  const client = server.client('bob')
  t.equal((await client.get(path)).code, 403)
  t.equal((await server.client().get(`${path}/none`)).code, 404)
  t.match(server.calls.slice(-2), [
    {
      ...{ user: 'bob', verb: 'list', group: '', resource: 'configmaps' },
      ...{ namespace: 'default', allowed: false, code: 403 },
    },
    { user: 'admin', verb: 'get', name: 'none', allowed: true, code: 404 },
  ])
  const user = {
    ...userNamed('system:serviceaccount:mesh:agent'),
    extra: { 'authentication.kubernetes.io/node-name': ['n1'] },
  }
  server.issueToken(user, { token: 'abc', audiences: ['mesh'] })
  const review = async (): Promise<unknown> => {
    const reply = await server
      .client()
      .create('/apis/authentication.k8s.io/v1/tokenreviews', {
        ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
        spec: { token: 'abc', audiences: ['mesh'] },
      })
    return object(reply).status
  }
  t.match(await review(), { authenticated: true, user: { extra: user.extra } })
  server.revokeToken('abc')
  t.notMatch(await review(), { authenticated: true })
})
