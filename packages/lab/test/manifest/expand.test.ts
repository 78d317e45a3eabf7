// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  deploymentOf,
  deploymentTemplate,
  pickNode,
  rollout,
} from '../../src/manifest/expand.ts'
import type { DeploymentObject, PodObject } from '../../src/types.ts'

const deployment: DeploymentObject = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    template: {
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ command: ['sleep', '1'] }] },
    },
  },
}

t.test('a deployment names its generation by the hash of the template', async (t) => {
  const one = deploymentTemplate(deployment, 'uid')
  t.match(one.prefix, /^web-[bcdfghjklmnpqrstvwxz2456789]{10}-$/)
  t.equal(one.metadata.labels?.['pod-template-hash'], one.hash)
  t.equal(one.metadata.labels?.['app'], 'web')
  t.equal(one.metadata.namespace, 'shop')
  const changed = structuredClone(deployment)
  changed.spec.template.spec.containers = [{ command: ['sleep', '2'] }]
  t.not(deploymentTemplate(changed, 'uid').hash, one.hash)
  changed.spec.template.spec.containers = [{ command: ['sleep', '1'] }]
  changed.spec.replicas = 7
  t.equal(deploymentTemplate(changed, 'uid').hash, one.hash, 'the count is no part of it')
})

t.test(
  'a pod knows its deployment through the ReplicaSet name, as in a cluster',
  async (t) => {
    const { metadata, spec, prefix } = deploymentTemplate(deployment, 'uid')
    const pod: PodObject = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, name: `${prefix}abcde` },
      spec,
    }
    t.equal(deploymentOf(pod), 'web')
    t.equal(deploymentOf({ ...pod, metadata: { name: 'bare' } }), undefined)
  },
)

t.test('pods spread: same owner first, then all pods, then order', async (t) => {
  t.equal(
    pickNode([
      { node: 'node-1', sameOwner: 1, pods: 1 },
      { node: 'node-2', sameOwner: 0, pods: 5 },
    ]),
    'node-2',
  )
  t.equal(
    pickNode([
      { node: 'node-1', sameOwner: 1, pods: 4 },
      { node: 'node-2', sameOwner: 1, pods: 3 },
    ]),
    'node-2',
  )
  t.equal(pickNode([{ node: 'node-1', sameOwner: 0, pods: 0 }]), 'node-1')
  t.equal(pickNode([]), undefined)
})

t.test(
  'a roll-out makes all new pods at once and ends old ones when those are ready',
  async (t) => {
    const pod = (hash: string, ready: boolean, name = '') => ({ hash, ready, name })
    t.same(rollout('b', 2, []), { missing: 2, surplus: [] })
    const old = [pod('a', true), pod('a', true)]
    t.same(rollout('b', 2, old), { missing: 2, surplus: [] }, 'nobody ends before')
    const half = [...old, pod('b', true), pod('b', false)]
    t.same(rollout('b', 2, half), { missing: 0, surplus: [] })
    t.same(rollout('b', 2, [...old, pod('b', true), pod('b', true)]).surplus, old)
    const three = ['x', 'y', 'z'].map((name) => pod('b', true, name))
    t.same(rollout('b', 1, three).surplus, three.slice(1), 'scaled down')
    t.same(rollout('b', 0, three), { missing: 0, surplus: three })
  },
)
