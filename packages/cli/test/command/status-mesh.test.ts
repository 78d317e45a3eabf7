// SPDX-License-Identifier: Apache-2.0
// timeout: 60
// What a halted roll-out looks like in `pillion status`.
import { join } from 'node:path'
import t from 'tap'
import { loadManifests } from '../../src/install/kustomize.ts'
import { startCluster } from '../support/cluster.ts'

const crds = join(import.meta.dirname, '../../../../manifests/crd')
const meshes = '/apis/mesh.pillion.dev/v1alpha1/meshes'
const halt =
  '0 of 1 nodes; node-1: its proxy refused: map layout; change the Mesh to go on or back'

t.test('reasons of a halt are shown, and end waiting with them', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  for (const crd of loadManifests(crds))
    await cluster.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const nodes = ['agent', 'proxy'].map((role) => ({
    ...{ node: 'node-1', role, connected: true, current: role === 'agent' },
    ...{ ackedVersion: 8, softwareVersion: '0.1.0' },
  }))
  await cluster.pod('operator-0', 'pillion-operator', 'node-1', {
    operator: {
      '/debug/status': { version: 9, nodes },
      '/debug/config?node=node-1&role=agent': {
        version: 9,
        resources: { servicePort: {} },
      },
    },
  })
  await cluster.pod('node-a', 'pillion-node', 'node-1', { agent: {}, proxy: {} })
  const lastTransitionTime = '2026-11-21T10:00:00Z'
  const conditions = [
    { type: 'Installed', status: 'False', reason: 'Halted', message: halt },
    { type: 'Degraded', status: 'False', reason: 'AllFeatures', message: '' },
  ].map((each) => ({ ...each, observedGeneration: 1, lastTransitionTime }))
  await cluster.create(
    meshes,
    {
      ...{ apiVersion: 'mesh.pillion.dev/v1alpha1', kind: 'Mesh' },
      ...{ metadata: { name: 'default' }, spec: {} },
    },
    { conditions },
  )
  const { code, out, err } = await cluster.pillion('status')
  t.equal(code, 1, err)
  t.ok(out.includes(`Mesh default: Installed=False (Halted): ${halt}`), out)
  t.notMatch(out, /Degraded/)
  const json = await cluster.pillionJson<{ mesh: { text: string }[] }>('status')
  t.match(json.mesh, [{ isGood: false, text: /Halted/ }])
  const waited = await cluster.pillion('status', '--wait', '--timeout', '1')
  t.match(waited.err, /Installed=False \(Halted\).*map layout/)
})
