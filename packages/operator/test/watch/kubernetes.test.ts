// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// The Kubernetes source against API servers: what it reports, and that nothing is lost when they go away.
import pino from 'pino'
import t, { type Test } from 'tap'
import {
  apiServers,
  startApiServer,
  type StandIn,
} from '../../../../test/support/apiserver/index.ts'
import type { ApiObject, ValidationError } from '../../src/api/object.ts'
import { keyOf } from '../../src/api/object.ts'
import { KubernetesSource } from '../../src/watch/kubernetes.ts'
import {
  clusterOf,
  gatewayCrd,
  namespace,
  ownCrds,
  route,
  service,
  type Cluster,
  type Line,
} from '../support/cluster.ts'
import { until } from '../support/running.ts'

interface Followed {
  readonly source: KubernetesSource
  readonly line: Line
  /** In force, by key. */
  readonly objects: Map<string, ApiObject>
  /** Keys that each batch named. */
  readonly batches: string[][]
  errors(): readonly ValidationError[]
  readonly started: Promise<void>
  readonly logged: string[]
}

async function follow(
  t: Test,
  cluster: Cluster,
  options: { idleMs?: number; syncWarnMs?: number; pageSize?: number } = {},
): Promise<Followed> {
  const { line, client } = await cluster.line()
  const objects = new Map<string, ApiObject>()
  const batches: string[][] = []
  const logged: string[] = []
  let errors: readonly ValidationError[] = []
  const log = pino({ level: 'error' }, { write: (text: string) => logged.push(text) })
  const source = new KubernetesSource({
    ...{ client, log, debounceMs: 5, pageSize: 500, idleMs: 60_000, syncWarnMs: 60_000 },
    ...{ backoffMinMs: 5, backoffMaxMs: 50 },
    ...options,
  })
  t.teardown(() => source.close())
  const started = source.start((change) => {
    for (const object of change.upserts) objects.set(keyOf(object), object)
    for (const key of change.removals) objects.delete(key)
    errors = change.errors
    batches.push([...change.upserts.map(keyOf), ...change.removals])
  })
  return { source, line, objects, batches, logged, started, errors: () => errors }
}

const has = (followed: Followed, ...keys: string[]): boolean =>
  keys.every((key) => followed.objects.has(key))

const statsOf = ({ source }: Followed, kind: string) =>
  source.stats().find((each) => each.kind === kind)

for (const { name, start } of apiServers()) {
  t.test(`${name}: everything at once, then what changes`, async (t) => {
    const cluster = await clusterOf(t, await start())
    await cluster.apply(
      namespace('shop') + service('shop', 'web') + route('shop', 'r', '/a'),
    )
    const followed = await follow(t, cluster, { pageSize: 1 })
    await followed.started
    t.ok(has(followed, 'Namespace//shop', 'Service/shop/web', 'HTTPRoute/shop/r'))
    t.equal(followed.batches.length, 1, 'the first report is one')
    t.notOk('managedFields' in (followed.objects.get('Service/shop/web')?.metadata ?? {}))

    await cluster.apply(service('shop', 'web', 81))
    const port = (): number | undefined => {
      const found = followed.objects.get('Service/shop/web')
      return found?.kind === 'Service' ? found.spec.ports[0]?.port : undefined
    }
    await until('the change', () => port() === 81)
    t.same(followed.batches[1], ['Service/shop/web'])
    await cluster.remove('HTTPRoute', 'shop', 'r')
    await until('the removal', () => !has(followed, 'HTTPRoute/shop/r'))
    t.equal(statsOf(followed, 'HTTPRoute')?.objects, 0)
  })

  t.test(`${name}: what happened while the line was cut`, async (t) => {
    const cluster = await clusterOf(t, await start())
    await cluster.apply(
      namespace('shop') + service('shop', 'web') + service('shop', 'old'),
    )
    const followed = await follow(t, cluster)
    await followed.started
    followed.line.cut()
    await cluster.remove('Service', 'shop', 'old')
    await cluster.apply(service('shop', 'new'))
    await until('the cut was noticed', () => followed.source.staleMs > 0)
    t.ok(has(followed, 'Service/shop/old'), 'the last state stays')
    followed.line.heal()
    await until(
      'caught up',
      () => has(followed, 'Service/shop/new') && !has(followed, 'Service/shop/old'),
    )
    await until('all kinds are followed', () => followed.source.staleMs === 0)
    t.equal(statsOf(followed, 'Service')?.lists, 1, 'the watch went on, no second list')
  })

  t.test(`${name}: a restarted server, and what came after`, async (t) => {
    const cluster = await clusterOf(t, await start())
    await cluster.apply(namespace('shop') + service('shop', 'web'))
    const followed = await follow(t, cluster)
    await followed.started
    const batches = followed.batches.length
    await cluster.server.restart()
    // Connections that the test kept are gone too.
    await until('the server is back', () =>
      cluster.apply(service('shop', 'after')).then(
        () => true,
        () => false,
      ),
    )
    await until('seen after the restart', () => has(followed, 'Service/shop/after'))
    t.ok(has(followed, 'Service/shop/web'))
    t.same(
      followed.batches.slice(batches).flat(),
      ['Service/shop/after'],
      'nothing was withdrawn, nothing reported twice',
    )
  })

  t.test(`${name}: a kind whose CRD comes, goes and comes again`, async (t) => {
    const cluster = await clusterOf(t, await start(), ownCrds())
    await cluster.apply(namespace('shop') + service('shop', 'web'))
    const followed = await follow(t, cluster)
    await followed.started
    // An absent kind is nothing that is missing.
    await until('all kinds are followed', () => followed.source.staleMs === 0)
    const appear = async (): Promise<void> => {
      await cluster.apply(gatewayCrd('HTTPRoute'))
      await until('it can be created', () =>
        cluster.apply(route('shop', 'r', '/a')).then(
          () => true,
          () => false,
        ),
      )
      await until('the route', () => has(followed, 'HTTPRoute/shop/r'))
    }
    await appear()
    const crd = 'httproutes.gateway.networking.k8s.io'
    await cluster.remove('CustomResourceDefinition', '', crd)
    await until('dropped', () => !has(followed, 'HTTPRoute/shop/r'))
    await until('not followed', () => statsOf(followed, 'HTTPRoute') === undefined)
    await until(
      'the definition is gone',
      async () =>
        (
          await cluster.admin.get(
            `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crd}`,
          )
        ).code === 404,
    )
    await appear()
    t.ok(has(followed, 'Service/shop/web'))
  })

  t.test(`${name}: an invalid object keeps its last good version`, async (t) => {
    const cluster = await clusterOf(t, await start())
    await cluster.apply(
      namespace('shop') + service('shop', 'web') + route('shop', 'r', '/a'),
    )
    const followed = await follow(t, cluster)
    await followed.started
    const good = followed.objects.get('HTTPRoute/shop/r')
    await cluster.apply(route('shop', 'r', 'no-slash') + route('shop', 'never', 'bad'))
    await until('both are reported', () => followed.errors().length === 2)
    t.match(followed.errors()[0], {
      file: '',
      object: 'HTTPRoute shop/r',
      field: 'spec.rules[0].matches[0].path.value',
      message: 'must start with "/"',
    })
    t.equal(followed.objects.get('HTTPRoute/shop/r'), good)
    t.notOk(has(followed, 'HTTPRoute/shop/never'))
    await cluster.apply(route('shop', 'r', '/b'))
    await until('valid again', () => followed.errors().length === 1)
    t.not(followed.objects.get('HTTPRoute/shop/r'), good)
    await cluster.apply(route('shop', 'r', 'bad'))
    await until('invalid again', () => followed.errors().length === 2)
    await cluster.remove('HTTPRoute', 'shop', 'r')
    await until('gone with its error', () => followed.errors().length === 1)
    t.notOk(has(followed, 'HTTPRoute/shop/r'))
  })
}

async function standIn(t: Test, options = {}): Promise<[StandIn, Cluster]> {
  const server = await startApiServer(options)
  return [server, await clusterOf(t, server)]
}

t.test('410 Gone: a new list finds what was deleted meanwhile', async (t) => {
  const [server, cluster] = await standIn(t)
  await cluster.apply(namespace('shop') + service('shop', 'old') + service('shop', 'web'))
  const followed = await follow(t, cluster)
  await followed.started
  followed.line.cut()
  await cluster.remove('Service', 'shop', 'old')
  await cluster.apply(service('shop', 'new'))
  server.compact()
  followed.line.heal()
  await until(
    'listed again',
    () => has(followed, 'Service/shop/new') && !has(followed, 'Service/shop/old'),
  )
  t.match(statsOf(followed, 'Service'), { lists: 2, expired: 1 })
  t.ok(has(followed, 'Service/shop/web'))
})

t.test('an object that was made anew while away is another one', async (t) => {
  const [, cluster] = await standIn(t)
  await cluster.apply(
    namespace('shop') + service('shop', 'web') + route('shop', 'r', '/a'),
  )
  const followed = await follow(t, cluster)
  await followed.started
  await cluster.remove('HTTPRoute', 'shop', 'r')
  await cluster.apply(route('shop', 'r', 'bad'))
  await until(
    'the old version does not live on in it',
    () => !has(followed, 'HTTPRoute/shop/r') && followed.errors().length === 1,
  )
})

t.test(
  'a kind that may not be read is named with its status, and waited for',
  async (t) => {
    const [server, cluster] = await standIn(t)
    server.failNext(30, 403, ({ plural }) => plural === 'pods')
    const followed = await follow(t, cluster, { syncWarnMs: 50 })
    await until('it is named', () => followed.logged.length > 0)
    t.equal(followed.batches.length, 0, 'no half configuration')
    t.match(JSON.parse(followed.logged[0] ?? ''), {
      kind: 'Pod',
      status: 403,
      msg: 'kind cannot be read; nothing is served before it is',
    })
    t.match(followed.source.missing(), [{ kind: 'Pod', status: 403 }])
    await followed.started
    t.ok(has(followed, 'Namespace//default'), 'as soon as it may be read')
  },
)

t.test('a watch that says nothing is opened again', async (t) => {
  const [, cluster] = await standIn(t)
  await cluster.apply(namespace('shop'))
  const followed = await follow(t, cluster, { idleMs: 300 })
  await followed.started
  followed.line.isMute = true
  await cluster.apply(service('shop', 'web'))
  await until('given up', () => (statsOf(followed, 'Service')?.restarts ?? 0) > 0)
  followed.line.isMute = false
  await until('seen by the next', () => has(followed, 'Service/shop/web'))
})

t.test('bookmarks keep a quiet watch young enough to go on', async (t) => {
  const [server, cluster] = await standIn(t)
  await cluster.apply(namespace('shop'))
  const followed = await follow(t, cluster)
  await followed.started
  await cluster.apply(service('shop', 'web'))
  await until('seen', () => has(followed, 'Service/shop/web'))
  // Pods saw none of this: without the bookmark their watch would be from before what is forgotten now.
  await until('bookmarks', () => {
    server.bookmark()
    return source().every(({ bookmarks }) => bookmarks > 0)
  })
  server.compact()
  server.closeWatches()
  await until('followed again', () => source().every(({ restarts }) => restarts > 0))
  await until('connected', () => followed.source.staleMs === 0)
  t.equal(statsOf(followed, 'Pod')?.lists, 1)

  function source() {
    return followed.source.stats()
  }
})

t.test('status and heartbeats are no change', async (t) => {
  const [, cluster] = await standIn(t)
  await cluster.apply(
    namespace('shop') + service('shop', 'web') + route('shop', 'r', '/a'),
  )
  const followed = await follow(t, cluster)
  await followed.started
  await cluster.apply(`${route('shop', 'r', '/a')}status: {parents: []}\n`)
  await cluster.apply(service('shop', 'after'))
  await until('after', () => has(followed, 'Service/shop/after'))
  await until('the event', () => (statsOf(followed, 'HTTPRoute')?.events ?? 0) > 0)
  t.same(followed.batches.slice(1), [['Service/shop/after']])
})
