// SPDX-License-Identifier: Apache-2.0
// One object through its life: create, read, update, patch, delete.
import type { Test } from 'tap'
import type { ApiServer, Json, KubeObject } from '../support/apiserver/index.ts'
import {
  againstEach,
  configMap,
  eventually,
  install,
  namespace,
  names,
  object,
  widget,
  widgets,
} from './support/servers.ts'

againstEach(async (t, server) => {
  await t.test('create', (t) => create(t, server))
  await t.test('update', (t) => update(t, server))
  await t.test('patch', (t) => patch(t, server))
  await t.test('status and generation', (t) => status(t, server))
  await t.test('delete', (t) => remove(t, server))
  await t.test('defaults of built-in kinds', (t) => defaults(t, server))
})

async function create(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'create')
  const made = await client.create(at('configmaps'), configMap('a', { k: 'v' }))
  t.equal(made.code, 201)
  const { metadata } = object(made)
  t.match(metadata, {
    ...{ name: 'a', namespace: 'create', uid: /^[0-9a-f-]{36}$/ },
    ...{ resourceVersion: /^\d+$/, creationTimestamp: /^\d{4}-.*T.*Z$/ },
  })
  t.equal(metadata.generation, undefined, 'a ConfigMap has no generation')
  t.same(object(await client.get(`${at('configmaps')}/a`)), made.body)

  const again = await client.create(at('configmaps'), configMap('a'))
  t.match(again, { code: 409, body: { kind: 'Status', reason: 'AlreadyExists' } })
  t.equal(again.body['message'], 'configmaps "a" already exists')
  const missing = await client.get(`${at('configmaps')}/b`)
  t.match(missing, { code: 404, body: { reason: 'NotFound' } })
  t.equal(missing.body['message'], 'configmaps "b" not found')

  const generated = { ...configMap(''), metadata: { generateName: 'pre-' } }
  const [one, two] = [
    object(await client.create(at('configmaps'), generated)),
    object(await client.create(at('configmaps'), generated)),
  ]
  t.match(one?.metadata.name, /^pre-[a-z0-9]{5}$/)
  t.not(one?.metadata.name, two?.metadata.name)

  const elsewhere = '/api/v1/namespaces/nowhere/configmaps'
  t.match(await client.create(elsewhere, configMap('a')), { code: 404 })
  const bad = await client.create(at('configmaps'), configMap('No_Name'))
  t.match(bad, { code: 422, body: { reason: 'Invalid' } })
  const other = { ...configMap('x'), kind: 'Secret' }
  t.match(await client.create(at('configmaps'), other), { code: 400 })
  const dry = await client.create(at('configmaps'), configMap('dry'), {
    query: { dryRun: 'All' },
  })
  t.equal(dry.code, 201)
  t.equal((await client.get(`${at('configmaps')}/dry`)).code, 404)
}

async function update(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'update')
  const path = `${at('configmaps')}/a`
  const first = object(await client.create(at('configmaps'), configMap('a', { k: '1' })))
  const second = object(await client.update(path, { ...first, data: { k: '2' } }))
  t.not(second.metadata.resourceVersion, first.metadata.resourceVersion)
  t.equal(second.metadata.uid, first.metadata.uid)
  const late = await client.update(path, { ...first, data: { k: '3' } })
  t.match(late, { code: 409, body: { reason: 'Conflict' } })
  t.match(late.body['message'], /the object has been modified; please apply your changes/)
  const same = object(await client.update(path, second))
  t.equal(same.metadata.resourceVersion, second.metadata.resourceVersion, 'no change')
  const forced = object(await client.update(path, configMap('a', { k: '4' })))
  t.same(forced['data'], { k: '4' }, 'without a revision the last writer wins')
  t.equal((await client.update(`${at('configmaps')}/b`, configMap('b'))).code, 404)
  t.equal((await client.update(path, configMap('b'))).code, 400)
}

async function patch(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'patch')
  const path = `${at('configmaps')}/a`
  object(await client.create(at('configmaps'), configMap('a', { a: '1', b: '2' })))
  const merged = object(await client.merge(path, { data: { a: null, c: '3' } }))
  t.same(merged['data'], { b: '2', c: '3' })
  const json = (operations: Json[]) =>
    client.send('PATCH', path, operations, { contentType: 'application/json-patch+json' })
  const patched = await json([
    { op: 'test', path: '/data/b', value: '2' },
    { op: 'replace', path: '/data/b', value: '4' },
    { op: 'remove', path: '/data/c' },
    { op: 'add', path: '/metadata/labels', value: { 'a/b': 'x' } },
  ])
  t.match(object(patched), { data: { b: '4' }, metadata: { labels: { 'a/b': 'x' } } })
  t.equal((await json([{ op: 'test', path: '/data/b', value: '2' }])).code, 422)
  t.equal((await json([{ op: 'replace', path: '/data/no', value: '2' }])).code, 422)
  const stale = { metadata: { resourceVersion: '1' }, data: { a: '9' } }
  t.equal((await client.merge(path, stale)).code, 409)
  const unchanged = object(await client.merge(path, { data: { b: '4' } }))
  t.equal(
    unchanged.metadata.resourceVersion,
    object(patched).metadata.resourceVersion,
    'a patch that changes nothing makes no revision',
  )
  const unknown = await client.merge(path, {}, { contentType: 'text/plain' })
  t.equal(unknown.code, 415)
}

async function status(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  await namespace(client, 'status')
  await install(client, widgets())
  const path = '/apis/test.example.com/v1/namespaces/status/widgets'
  const conditions = [{ type: 'Ready', status: 'True' }]
  const made = object(
    await client.create(path, widget('a', { spec: {}, status: { conditions } })),
  )
  t.equal(made.status, undefined, 'create ignores the status')
  t.equal(made.metadata.generation, 1)
  const withStatus = object(
    await client.update(`${path}/a/status`, {
      ...made,
      spec: { size: 9 },
      status: { conditions },
    }),
  )
  t.match(withStatus, {
    spec: { size: 3 },
    status: { conditions },
    metadata: { generation: 1 },
  })
  const changed = object(
    await client.update(`${path}/a`, { ...withStatus, spec: { size: 5 }, status: {} }),
  )
  t.match(changed, {
    spec: { size: 5 },
    status: { conditions },
    metadata: { generation: 2 },
  })
  const labels = { a: 'b' }
  const labelled = object(await client.merge(`${path}/a`, { metadata: { labels } }))
  t.equal(labelled.metadata.generation, 2, 'labels are no intent')
  const { metadata } = labelled
  const { resourceVersion: _, ...rest } = metadata
  const blind = await client.update(`${path}/a`, { ...labelled, metadata: rest })
  t.equal(blind.code, 422, 'custom resources are never updated blindly')
  t.equal((await client.get(`${path}/a/nothing`)).code, 404)
}

async function remove(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'delete')
  const path = at('configmaps')
  const made = object(await client.create(path, configMap('a')))
  const wrong = { preconditions: { uid: 'other' } }
  t.equal((await client.delete(`${path}/a`, wrong)).code, 409)
  const gone = await client.delete(`${path}/a`, {
    preconditions: { uid: made.metadata.uid },
  })
  t.match(gone, { code: 200, body: { kind: 'Status', status: 'Success' } })
  t.equal((await client.delete(`${path}/a`)).code, 404)

  const held = configMap('held')
  const finalizers = ['test.example.com/hold']
  object(await client.create(path, { ...held, metadata: { name: 'held', finalizers } }))
  const marked = object(await client.delete(`${path}/held`))
  t.match(marked.metadata.deletionTimestamp, /Z$/)
  const added = await client.merge(`${path}/held`, {
    metadata: { finalizers: [...finalizers, 'test.example.com/more'] },
  })
  t.equal(added.code, 422, 'no new finalizer once it is being deleted')
  object(await client.merge(`${path}/held`, { metadata: { finalizers: null } }))
  t.equal((await client.get(`${path}/held`)).code, 404)

  for (const name of ['x', 'y', 'z'])
    object(
      await client.create(path, configMap(name, {}, { set: name < 'z' ? '1' : '2' })),
    )
  object(await client.delete(path, undefined, { labelSelector: 'set=1' }))
  await eventually(async () => {
    const left = names(await client.get(path, { labelSelector: 'set' }))
    return left.join() === 'z' ? true : undefined
  })
  t.pass('deletecollection by selector')
}

async function defaults(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'defaults')
  const created = (plural: string, body: Json): Promise<KubeObject> =>
    client.create(at(plural), body).then(object)
  const service = await created('services', {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 's' } },
    spec: { ports: [{ port: 80 }], selector: { app: 'a' } },
  })
  t.match(service.spec, {
    ...{ type: 'ClusterIP', clusterIP: /^10\.96\./, sessionAffinity: 'None' },
    ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
  })
  const { clusterIP: _, ...spec } = service.spec ?? {}
  const { resourceVersion: _1, ...metadata } = service.metadata
  const sent = { ...service, metadata, spec: { ...spec, clusterIPs: undefined } }
  const again = object(await client.update(`${at('services')}/s`, sent))
  t.equal(again.spec?.['clusterIP'], service.spec?.['clusterIP'], 'an address is kept')

  const set = (matchLabels: Json, labels: Json): Json => ({
    ...{ apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'd' } },
    spec: {
      selector: { matchLabels },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      },
    },
  })
  const sets = '/apis/apps/v1/namespaces/defaults/daemonsets'
  t.equal((await client.create(sets, set({ a: '1' }, { a: '2' }))).code, 422)
  const made = object(await client.create(sets, set({ a: '1' }, { a: '1' })))
  t.equal(made.metadata.generation, 1)
  const moved = await client.update(`${sets}/d`, set({ a: '2' }, { a: '2' }))
  t.match(moved, { code: 422, body: { message: /field is immutable/ } })
  const secret = await created('secrets', {
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' } },
    stringData: { a: 'b' },
  })
  t.match(secret, { type: 'Opaque', data: { a: 'Yg==' } })
  t.equal(secret['stringData'], undefined)
  const found = object(await client.get('/api/v1/namespaces/defaults'))
  t.equal(found.metadata.labels?.['kubernetes.io/metadata.name'], 'defaults')
}
