// SPDX-License-Identifier: Apache-2.0
import type { PodObject } from '@pillion/lab'
import t from 'tap'
import {
  canonical,
  findPodObject,
  formatPeer,
  named,
  namespaceOf,
  parsePeer,
} from '../src/peers.ts'

function pod(name: string, owner: string | undefined, ip: string): PodObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'shop',
      ...(owner === undefined
        ? {}
        : {
            ownerReferences: [
              { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: '' },
            ],
          }),
    },
    spec: { containers: [] },
    status: { podIPs: [{ ip }] },
  }
}

const pods = [
  pod('web-abc-1', 'web-abc', '10.244.1.2'),
  pod('web-abc-2', 'web-abc', '10.244.2.2'),
  pod('api-v1-x-1', 'api-v1-x', '10.244.1.3'),
  pod('api-v2-y-1', 'api-v2-y', '10.244.1.4'),
  pod('client', undefined, 'fd00:10:244:1::5'),
]
const services = new Set(['shop/api'])

t.test('peers with and without port', async (t) => {
  t.same(parsePeer('shop/web:80'), { host: 'shop/web', port: 80 })
  t.same(parsePeer('shop/web'), { host: 'shop/web' })
  t.same(parsePeer('10.0.0.1:53'), { host: '10.0.0.1', port: 53 })
  t.same(parsePeer('[fd00::1]:53'), { host: 'fd00::1', port: 53 })
  t.same(parsePeer('fd00::1'), { host: 'fd00::1' })
  t.throws(() => parsePeer('shop/web:http'), { code: 'usage' })
  t.throws(() => parsePeer('shop/web:0'), { code: 'usage' })
  for (const text of ['shop/web:80', '[fd00::1]:53', '10.0.0.1']) {
    t.equal(formatPeer(parsePeer(text)), text)
  }
})

t.test('a pod by name, by its deployment, by address', async (t) => {
  t.equal(findPodObject(pods, 'shop/client')?.metadata.name, 'client')
  t.equal(findPodObject(pods, 'shop/web')?.metadata.name, 'web-abc-1')
  t.equal(findPodObject(pods, '10.244.2.2')?.metadata.name, 'web-abc-2')
  t.equal(findPodObject(pods, 'shop/none'), undefined)
  t.equal(findPodObject(pods, 'client'), undefined, 'without a namespace: default')
  t.throws(() => findPodObject(pods, 'shop/api'), { code: 'ambiguous' })
})

t.test(
  'during a roll-out: the newest pod that lives, of either ReplicaSet',
  async (t) => {
    const of = (hash: string, created: string, status: object): PodObject => {
      const made = pod(`web-${hash}-1`, `web-${hash}`, '10.244.1.9')
      const labels = { 'pod-template-hash': hash }
      const metadata = { ...made.metadata, labels, creationTimestamp: created }
      return { ...made, metadata, status: { podIPs: [{ ip: '10.244.1.9' }], ...status } }
    }
    const rolling = [
      of('a', '2026-01-02T00:00:00Z', {}),
      of('b', '2026-01-01T00:00:00Z', {}),
      of('c', '2026-01-03T00:00:00Z', { phase: 'Failed' }),
    ]
    t.equal(findPodObject(rolling, 'shop/web')?.metadata.name, 'web-a-1')
    t.equal(findPodObject(rolling.toReversed(), '10.244.1.9')?.metadata.name, 'web-b-1')
    t.equal(findPodObject(rolling.slice(2), '10.244.1.9'), undefined, 'it has ended')
  },
)

t.test('where a peer is looked for', async (t) => {
  t.equal(namespaceOf('shop/web'), 'shop')
  t.equal(namespaceOf('web'), 'default')
  t.equal(named('web'), 'default/web')
  t.equal(named('shop/web'), 'shop/web')
  t.equal(named('10.0.0.1'), '10.0.0.1')
  t.equal(namespaceOf('fd00::1'), undefined)
})

t.test('a destination is a service first', async (t) => {
  t.equal(canonical({ host: 'shop/api', port: 80 }, services, pods), 'shop/api:80')
  t.equal(canonical({ host: 'shop/web', port: 1 }, services, pods), 'shop/web-abc-1:1')
  t.equal(canonical({ host: 'fd00::1', port: 1 }, services, pods), '[fd00::1]:1')
  t.throws(() => canonical({ host: 'shop/no' }, services, pods), { code: 'not-found' })
})
