// SPDX-License-Identifier: Apache-2.0
// Lists: selectors, revisions, pages of one state.
import type { Test } from 'tap'
import type { ApiServer, Client, Json } from '../support/apiserver/index.ts'
import { againstEach, configMap, namespace, names, object } from './support/servers.ts'

againstEach(async (t, server) => {
  await t.test('selectors', (t) => selectors(t, server))
  await t.test('pages show one state', (t) => pages(t, server))
  await t.test('revisions', (t) => revisions(t, server))
  await t.test('discovery', (t) => discovery(t, server))
})

async function filled(
  client: Client,
  name: string,
): Promise<{ path: string; versions: string[] }> {
  const path = (await namespace(client, name))('configmaps')
  const versions: string[] = []
  for (const [i, colour] of ['red', 'red', 'blue', 'green'].entries()) {
    const labels = i === 3 ? { colour, last: 'yes' } : { colour }
    const made = object(await client.create(path, configMap(`c${i}`, {}, labels)))
    versions.push(made.metadata.resourceVersion ?? '')
  }
  return { path, versions }
}

async function selectors(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const { path } = await filled(client, 'selectors')
  const cases: [Json, string][] = [
    [{ labelSelector: 'colour=red' }, 'c0 c1'],
    [{ labelSelector: 'colour!=red,colour' }, 'c2 c3'],
    [{ labelSelector: 'colour in (blue, green),!last' }, 'c2'],
    [{ labelSelector: 'colour notin (red,blue),last' }, 'c3'],
    [{ fieldSelector: 'metadata.name=c2' }, 'c2'],
    [{ fieldSelector: 'metadata.namespace=other' }, ''],
  ]
  for (const [query, expected] of cases) {
    const found = names(await client.get(path, query as Record<string, string>))
    t.equal(found.filter((name) => name.startsWith('c')).join(' '), expected)
  }
  const all = '/api/v1/configmaps'
  t.ok(
    names(await client.get(all, { labelSelector: 'last' })).includes('c3'),
    'all namespaces',
  )
  t.equal((await client.get(path, { labelSelector: 'a in' })).code, 400)
  t.equal((await client.get(path, { fieldSelector: 'data.a=b' })).code, 400)

  const pod = (name: string, nodeName: string): Json => ({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
    spec: { nodeName, containers: [{ name: 'a', image: 'a' }] },
  })
  const pods = '/api/v1/namespaces/selectors/pods'
  object(await client.create(pods, pod('p1', 'node-1')))
  object(await client.create(pods, pod('p2', 'node-2')))
  const onNode = await client.get('/api/v1/pods', {
    fieldSelector: 'spec.nodeName=node-2',
  })
  t.same(names(onNode), ['p2'])
}

async function pages(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const { path } = await filled(client, 'pages')
  const query = { labelSelector: 'colour', limit: 2 }
  const first = object(await client.get(path, query))
  t.same(names({ code: 200, body: first }), ['c0', 'c1'])
  const { continue: token, resourceVersion } = first.metadata
  object(await client.delete(`${path}/c2`))
  object(await client.create(path, configMap('c9', {}, { colour: 'late' })))
  const second = object(await client.get(path, { ...query, continue: String(token) }))
  t.same(names({ code: 200, body: second }), ['c2', 'c3'], 'as of the first page')
  t.equal(second.metadata.resourceVersion, resourceVersion)
  t.notOk(second.metadata['continue'])
  t.equal((await client.get(path, { ...query, continue: 'nonsense' })).code, 400)
}

async function revisions(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const { path, versions } = await filled(client, 'revisions')
  const labelSelector = 'colour'
  const at = (query: Record<string, string>): Promise<string> =>
    client.get(path, { labelSelector, ...query }).then((reply) => names(reply).join(' '))
  const [, second = ''] = versions
  t.equal(await at({ resourceVersion: second, resourceVersionMatch: 'Exact' }), 'c0 c1')
  t.equal(
    await at({ resourceVersion: second, resourceVersionMatch: 'NotOlderThan' }),
    'c0 c1 c2 c3',
  )
  t.equal(await at({ resourceVersion: '0' }), 'c0 c1 c2 c3')
  const future = { resourceVersion: '999999999', resourceVersionMatch: 'NotOlderThan' }
  t.match(await client.get(path, future), { code: 504, body: { reason: 'Timeout' } })
  t.equal((await client.get(path, { resourceVersion: 'abc' })).code, 400)
}

async function discovery(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  t.match((await client.get('/version')).body, { major: '1', gitVersion: /^v1\./ })
  t.match((await client.get('/api')).body, { kind: 'APIVersions', versions: ['v1'] })
  const core = (await client.get('/api/v1')).body['resources'] as Json[]
  t.match(
    core.find(({ name }) => name === 'pods'),
    { kind: 'Pod', namespaced: true, shortNames: ['po'] },
  )
  t.ok(core.some(({ name }) => name === 'pods/status'))
  const groups = (await client.get('/apis')).body['groups'] as Json[]
  for (const name of [
    ...['apps', 'discovery.k8s.io', 'networking.k8s.io', 'coordination.k8s.io'],
    ...['rbac.authorization.k8s.io', 'apiextensions.k8s.io', 'events.k8s.io'],
    ...['authentication.k8s.io', 'authorization.k8s.io'],
  ])
    t.ok(
      groups.some((group) => group['name'] === name),
      name,
    )
  const leases = (await client.get('/apis/coordination.k8s.io/v1')).body
  t.match(leases, { kind: 'APIResourceList', groupVersion: 'coordination.k8s.io/v1' })
  t.equal((await client.get('/apis/no.such.group/v1')).code, 404)
  t.equal((await client.get('/apis/no.such.group/v1/things')).code, 404)
}
