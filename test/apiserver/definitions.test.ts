// SPDX-License-Identifier: Apache-2.0
// CustomResourceDefinitions: a kind appears, judges its objects, and disappears.
import type { Test } from 'tap'
import type { ApiServer, Json } from '../support/apiserver/index.ts'
import {
  againstEach,
  eventually,
  install,
  namespace,
  object,
  widget,
  widgets,
} from './support/servers.ts'

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

againstEach(async (t, server) => {
  await t.test('validation', (t) => validation(t, server))
  await t.test('coming and going', (t) => comingAndGoing(t, server))
  await t.test('instances with finalizers hold a definition', (t) => held(t, server))
})

async function validation(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  await namespace(client, 'validation')
  await install(client, widgets())
  const path = '/apis/test.example.com/v1/namespaces/validation/widgets'
  const made = object(
    await client.create(path, widget('a', { spec: { colour: 'red', unknown: 1 } })),
  )
  t.same(made.spec, { colour: 'red', size: 3 }, 'pruned and with defaults')
  const free = { any: { thing: [1] } }
  const kept = await client.create(path, widget('free', { spec: { free } }), {
    query: { fieldValidation: 'Strict' },
  })
  t.same(object(kept).spec, { free, size: 3 }, 'unknown fields that are to be preserved')
  const strict = await client.create(path, widget('b', { spec: { unknown: 1 } }), {
    query: { fieldValidation: 'Strict' },
  })
  t.match(strict, { code: 400, body: { message: /unknown field "spec.unknown"/ } })
  const refused: [Json, string][] = [
    [{ size: 0 }, 'spec.size'],
    [{ size: 'big' }, 'spec.size'],
    [{ colour: 'green' }, 'spec.colour'],
  ]
  for (const [spec, field] of refused) {
    const reply = await client.create(path, widget('b', { spec }))
    t.match(reply, {
      code: 422,
      body: { reason: 'Invalid', details: { causes: [{ field }] } },
    })
  }
  const rule = await client.create(path, widget('b', { spec: { min: 2, max: 1 } }))
  t.match(rule, { code: 422, body: { message: /min must not be above max/ } })
  const merged = await client.merge(`${path}/a`, { spec: { min: 2, max: 1 } })
  t.equal(merged.code, 422, 'also a patch')
  const spec = { min: 2, max: 1 }
  const applied = await client.apply(`${path}/a`, widget('a', { spec }), 'one')
  t.equal(applied.code, 422, 'also an apply')
  t.same(object(await client.get(`${path}/a`)), made, 'and nothing has changed')
}

async function comingAndGoing(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  await namespace(client, 'coming')
  const path = '/apis/test.example.com/v1/namespaces/coming/gadgets'
  t.equal((await client.get(path)).code, 404, 'not served')
  await install(client, widgets('gadgets', 'Gadget'))
  const resources = (await client.get('/apis/test.example.com/v1')).body[
    'resources'
  ] as Json[]
  t.match(
    resources.filter(({ kind }) => kind === 'Gadget').map(({ name }) => name),
    ['gadgets', 'gadgets/status'],
  )
  const gadget = { ...widget('a', { spec: {} }), kind: 'Gadget' }
  object(await client.create(path, gadget))
  const list = object(await client.get(path))
  t.match(list, {
    kind: 'GadgetList',
    apiVersion: 'test.example.com/v1',
    items: [{ kind: 'Gadget' }],
  })
  const watch = await client.watch(path)
  await watch.until(({ events }) => events.length === 1)
  object(await client.delete(`${definitions}/gadgets.test.example.com`))
  await watch.until(({ ended }) => ended)
  t.match(watch.summary(), ['ADDED a', 'DELETED a'])
  await eventually(async () => ((await client.get(path)).code === 404 ? true : undefined))
  await eventually(async () => {
    const groups = (await client.get('/apis')).body['groups'] as Json[]
    const resources = (await client.get('/apis/test.example.com/v1')).body['resources']
    const served = ((resources ?? []) as Json[]).some(({ name }) => name === 'gadgets')
    return groups.length > 0 && !served ? true : undefined
  })
  await install(client, widgets('gadgets', 'Gadget'))
  t.same(object(await client.get(path))['items'], [], 'nothing is left of before')
}

async function held(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  await namespace(client, 'held')
  await install(client, widgets('holders', 'Holder'))
  const path = '/apis/test.example.com/v1/namespaces/held/holders'
  const metadata = { name: 'a', finalizers: ['test.example.com/hold'] }
  object(await client.create(path, { ...widget('a'), kind: 'Holder', metadata }))
  object(await client.delete(`${definitions}/holders.test.example.com`))
  await eventually(async () => {
    const reply = await client.get(`${path}/a`)
    return object(reply).metadata.deletionTimestamp
  })
  t.equal((await client.get(`${definitions}/holders.test.example.com`)).code, 200)
  object(await client.merge(`${path}/a`, { metadata: { finalizers: null } }))
  await eventually(async () => {
    const { code } = await client.get(`${definitions}/holders.test.example.com`)
    return code === 404 ? true : undefined
  })
  t.pass('the last instance lets go of it')
}
