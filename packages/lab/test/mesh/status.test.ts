// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { withStatus } from '../../src/mesh/status.ts'

t.test('status comes from the file of the object, if there is one', async (t) => {
  const dir = t.testdir({
    shop: {
      'HTTPRoute.api.yaml': 'kind: HTTPRoute\nstatus: {conditions: [{type: Accepted}]}',
    },
    _cluster: { 'Mesh.default.yaml': 'status: {conditions: []}' },
  })
  const route = {
    apiVersion: 'x',
    kind: 'HTTPRoute',
    metadata: { name: 'api', namespace: 'shop' },
  }
  t.match(withStatus(route, dir), {
    ...route,
    status: { conditions: [{ type: 'Accepted' }] },
  })
  const mesh = {
    apiVersion: 'x',
    kind: 'Mesh',
    metadata: { name: 'default' },
    status: { a: 1 },
  }
  t.match(withStatus(mesh, dir), { status: { a: 1, conditions: [] } })
  const other = { ...route, metadata: { name: 'web', namespace: 'shop' } }
  t.equal(withStatus(other, dir), other)
})
