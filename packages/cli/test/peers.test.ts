// SPDX-License-Identifier: Apache-2.0
import type { PodObject } from '@pillion/lab'
import t from 'tap'
import { canonical, findPodObject, formatPeer, parsePeer } from '../src/peers.ts'

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
const services = [
  { apiVersion: 'v1', kind: 'Service', metadata: { name: 'api', namespace: 'shop' } },
]

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

t.test('a destination is a service first', async (t) => {
  t.equal(canonical({ host: 'shop/api', port: 80 }, services, pods), 'shop/api:80')
  t.equal(canonical({ host: 'shop/web', port: 1 }, services, pods), 'shop/web-abc-1:1')
  t.equal(canonical({ host: 'fd00::1', port: 1 }, services, pods), '[fd00::1]:1')
  t.throws(() => canonical({ host: 'shop/no' }, services, pods), { code: 'not-found' })
})
