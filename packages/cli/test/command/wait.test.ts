// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import t from 'tap'
import { loadManifests } from '../../src/install/kustomize.ts'
import { startCluster } from '../support/cluster.ts'

// Each run of the command is a process: slow on a busy machine.
t.setTimeout(110_000)

const crds = join(import.meta.dirname, '../../../../manifests/crd')

t.test('wait for a condition', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  for (const crd of loadManifests(crds))
    await cluster.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const collection = '/apis/mesh.pillion.dev/v1alpha1/namespaces/default/l7services'
  await cluster.create(collection, {
    ...{ apiVersion: 'mesh.pillion.dev/v1alpha1', kind: 'L7Service' },
    metadata: { name: 'web' },
    spec: { targetRef: { name: 'web' }, protocol: 'http' },
  })
  const early = await cluster.pillion('wait', 'l7service/web', '--timeout', '1')
  t.match(early, { code: 4, err: /nobody has said anything about Programmed yet/ })
  const waiting = cluster.pillion('wait', 'l7service/web', '--timeout', '20')
  const condition = {
    ...{
      type: 'Programmed',
      status: 'True',
      reason: 'Programmed',
      observedGeneration: 1,
    },
    ...{
      message: 'acknowledged by 1 of 1 nodes',
      lastTransitionTime: new Date().toISOString(),
    },
  }
  const written = await cluster.client.merge(`${collection}/web/status`, {
    status: { conditions: [condition] },
  })
  t.equal(written.code, 200)
  t.match(await waiting, {
    code: 0,
    out: /L7Service web: Programmed \(acknowledged by 1/,
  })
  const none = await cluster.pillion('wait', 'l7service/none', '--timeout', '1')
  t.match(none, { code: 4, err: /L7Service none does not exist/ })
  t.match(await cluster.pillion('wait', 'pod/web'), { code: 2, err: /KIND\/NAME/ })
})
