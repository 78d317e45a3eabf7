// SPDX-License-Identifier: Apache-2.0
// Server-side apply: ownership, conflicts, removal, lists by key, subresources.
import type { Test } from 'tap'
import type { ApiServer, Json, KubeObject } from '../support/apiserver/index.ts'
import {
  againstEach,
  configMap,
  install,
  namespace,
  object,
  widget,
  widgets,
} from './support/servers.ts'

againstEach(async (t, server) => {
  await t.test('ownership and conflicts', (t) => conflicts(t, server))
  await t.test('what is no longer applied goes', (t) => removal(t, server))
  await t.test('lists by key', (t) => listsByKey(t, server))
  await t.test('status of custom resources', (t) => status(t, server))
})

const managers = ({ metadata }: KubeObject): Json[] =>
  (metadata.managedFields ?? []).map(({ manager, operation, subresource, fieldsV1 }) => ({
    ...{ manager, operation, fieldsV1 },
    ...(subresource === undefined ? {} : { subresource }),
  }))

async function conflicts(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'conflicts')
  const path = `${at('configmaps')}/a`
  const bare = (data: Json): Json => ({
    ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data },
  })
  const made = await client.apply(path, bare({ a: '1' }), 'one')
  t.equal(made.code, 201, 'apply creates')
  t.same(managers(object(made)), [
    { manager: 'one', operation: 'Apply', fieldsV1: { 'f:data': { 'f:a': {} } } },
  ])
  t.match(object(made).metadata.managedFields, [
    { apiVersion: 'v1', fieldsType: 'FieldsV1', time: /Z$/ },
  ])
  const same = object(await client.apply(path, bare({ a: '1' }), 'one'))
  t.equal(same.metadata.resourceVersion, object(made).metadata.resourceVersion)

  const refused = await client.apply(path, bare({ a: '2', b: '2' }), 'two')
  t.match(refused, {
    code: 409,
    body: {
      reason: 'Conflict',
      message: 'Apply failed with 1 conflict: conflict with "one" using v1: .data.a',
      details: {
        causes: [
          {
            ...{ reason: 'FieldManagerConflict', field: '.data.a' },
            message: 'conflict with "one" using v1',
          },
        ],
      },
    },
  })
  const shared = object(await client.apply(path, bare({ a: '1', b: '2' }), 'two'))
  t.equal(managers(shared).length, 2, 'equal values are owned by both')
  const forced = object(await client.apply(path, bare({ a: '2', b: '2' }), 'two', true))
  t.match(forced, { data: { a: '2', b: '2' } })
  t.same(
    managers(forced).map(({ manager }) => manager),
    ['two'],
    'nothing is left to the first',
  )

  const updated = object(
    await client.merge(path, { data: { b: '3' } }, { query: { fieldManager: 'three' } }),
  )
  t.same(
    managers(updated).find(({ manager }) => manager === 'three'),
    { manager: 'three', operation: 'Update', fieldsV1: { 'f:data': { 'f:b': {} } } },
  )
  t.equal((await client.apply(path, bare({ b: '4' }), 'two')).code, 409)
  const nameless = await client.send('PATCH', path, bare({}), {
    contentType: 'application/apply-patch+yaml',
  })
  t.equal(nameless.code, 422, 'apply needs a manager')
  const { managedFields } = updated.metadata
  const owned = { ...bare({}), metadata: { name: 'a', managedFields } }
  t.equal((await client.apply(path, owned, 'two')).code, 400)
}

async function removal(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'removal')
  const path = `${at('configmaps')}/a`
  const applied = (data: Json, labels: Json): Json => configMap('a', data, labels)
  object(await client.apply(path, applied({ a: '1', b: '1' }, { x: '1', y: '1' }), 'one'))
  object(await client.apply(path, applied({ b: '1', c: '1' }, {}), 'two'))
  const less = object(await client.apply(path, applied({ a: '1' }, { x: '1' }), 'one'))
  t.same(less['data'], { a: '1', b: '1', c: '1' }, 'b is still of the other')
  t.same(less.metadata.labels, { x: '1' })
  object(await client.apply(path, applied({ c: '1' }, {}), 'two'))
  const last = object(await client.get(path))
  t.same(last['data'], { a: '1', c: '1' })
}

async function listsByKey(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'lists')
  const path = `${at('services')}/s`
  const service = (ports: Json[]): Json => ({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 's' } },
    spec: { ports },
  })
  object(await client.apply(path, service([{ name: 'a', port: 80 }]), 'one'))
  const both = object(
    await client.apply(path, service([{ name: 'b', port: 81, targetPort: 8081 }]), 'two'),
  )
  t.match(both.spec?.['ports'], [
    { name: 'a', port: 80, protocol: 'TCP' },
    { name: 'b', port: 81, targetPort: 8081 },
  ])
  const refused = await client.apply(path, service([{ name: 'c', port: 80 }]), 'two')
  t.match(refused, {
    code: 409,
    body: {
      details: { causes: [{ field: '.spec.ports[port=80,protocol="TCP"].name' }] },
    },
  })
  const without = object(await client.apply(path, service([]), 'one'))
  t.match(without.spec?.['ports'], [{ name: 'b' }])
  t.equal((without.spec?.['ports'] as Json[]).length, 1, 'the item of the first is gone')
}

async function status(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  await namespace(client, 'apply-status')
  await install(client, widgets())
  const path = '/apis/test.example.com/v1/namespaces/apply-status/widgets/a'
  object(await client.apply(path, widget('a', { spec: { colour: 'red' } }), 'user'))
  const conditions = (...types: string[]): Json =>
    widget('a', {
      status: { conditions: types.map((type) => ({ type, status: 'True' })) },
    })
  const one = object(await client.apply(`${path}/status`, conditions('Ready'), 'one'))
  t.match(
    one.metadata.managedFields?.find(({ manager }) => manager === 'one'),
    {
      ...{ operation: 'Apply', subresource: 'status' },
      fieldsV1: { 'f:status': { 'f:conditions': { 'k:{"type":"Ready"}': { '.': {} } } } },
    },
  )
  t.equal(one.metadata.generation, 1)
  const two = object(await client.apply(`${path}/status`, conditions('Seen'), 'two'))
  const types = ({ status }: KubeObject): unknown[] =>
    (status?.['conditions'] as Json[]).map(({ type }) => type)
  t.same(types(two), ['Ready', 'Seen'], 'each manager has its conditions')
  const again = object(await client.apply(`${path}/status`, conditions('Seen'), 'two'))
  t.equal(again.metadata.resourceVersion, two.metadata.resourceVersion)
  const spec = widget('a', { spec: { colour: 'red' }, status: { conditions: [] } })
  t.same(types(object(await client.apply(path, spec, 'user'))), ['Ready', 'Seen'])
  const gone = object(await client.apply(`${path}/status`, widget('a'), 'one'))
  t.same(types(gone), ['Seen'])
  const missing = path.replace(/a$/, 'b')
  const nothing = await client.apply(`${missing}/status`, widget('b'), 'one')
  t.equal(nothing.code, 404, 'status of nothing')
}
