// SPDX-License-Identifier: Apache-2.0
// The lab's part in an API server, without any pod: what it binds, expands, writes and removes.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import t, { type Test } from 'tap'
import {
  apiServers,
  type ApiServer,
  type Client,
  type Json,
} from '../../../../test/support/apiserver/index.ts'
import { endpointSlices } from '../../src/object/endpoints.ts'
import { KubernetesSource } from '../../src/source/kubernetes.ts'
import type { KubeObject, PodObject } from '../../src/types.ts'
import { eventually } from '../support/pillion.ts'

const nodes = ['node-1', 'node-2']
const pods = '/api/v1/namespaces/default/pods'
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
const deployments = '/apis/apps/v1/namespaces/default/deployments'

const container = { name: 'main', image: 'none', command: ['sleep', 'infinity'] }

function deployment(replicas: number, version = '1'): object {
  const labels = { app: 'web' }
  const env = [{ name: 'VERSION', value: version }]
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ ...container, env }] } },
    },
  }
}

function pod(name: string, spec: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 7, containers: [container], ...spec },
  }
}

async function sourceOn(t: Test, server: ApiServer): Promise<KubernetesSource> {
  t.teardown(() => server.close())
  const dir = mkdtempSync(join(tmpdir(), 'pillion-lab-'))
  const kubeconfig = join(dir, 'config')
  writeFileSync(kubeconfig, server.kubeconfig())
  const source = new KubernetesSource({
    ...{ kubeconfig, nodes, copy: join(dir, 'copy') },
    log: (message) => t.comment(message),
  })
  t.teardown(async () => {
    await source.close()
    rmSync(dir, { recursive: true })
  })
  await source.start()
  return source
}

async function itemsOf(client: Client, path: string): Promise<KubeObject[]> {
  const { body } = await client.get(path)
  return body['items'] as KubeObject[]
}

async function must(reply: Promise<{ code: number; body: Json }>): Promise<Json> {
  const { code, body } = await reply
  if (code >= 300) throw new Error(JSON.stringify(body))
  return body
}

/** What a runner would say of a pod that is ready. */
function running(object: PodObject, address: string): PodObject {
  const status = {
    ...{
      phase: 'Running',
      podIP: address,
      podIPs: [{ ip: address }],
      hostIP: '10.0.0.1',
    },
    conditions: [{ type: 'Ready', status: 'True' }],
    containerStatuses: [
      { name: 'main', ready: true, restartCount: 0, state: { running: {} } },
    ],
  }
  const creationTimestamp = '2026-01-01T00:00:00.000Z'
  return { ...object, metadata: { ...object.metadata, creationTimestamp }, status }
}

for (const { name, start } of apiServers()) {
  t.test(`${name}: nodes are registered and alive`, async (t) => {
    const server = await start()
    const source = await sourceOn(t, server)
    const addresses = [
      { type: 'InternalIP', address: '10.245.0.1' },
      { type: 'InternalIP', address: 'fd00:10:245::1' },
    ]
    source.putNode({
      ...{ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } },
      status: { addresses, conditions: [{ type: 'Ready', status: 'True' }] },
    })
    const client = server.client()
    await eventually('the node is ready', async () => {
      const { body } = await client.get('/api/v1/nodes/node-1')
      const status = body['status'] as Json | undefined
      return isDeepStrictEqual(status?.['addresses'], addresses) || undefined
    })
    const { body } = await client.get('/api/v1/nodes/node-1')
    const { nodeInfo } = body['status'] as { nodeInfo: Json }
    t.match(nodeInfo, { architecture: /^(amd64|arm64)$/, kernelVersion: /^\d+\.\d+/ })
    await eventually('its heartbeat', async () => {
      const { code, body } = await client.get(
        '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1',
      )
      if (code !== 200) return undefined
      t.match(body['spec'], { holderIdentity: 'node-1', leaseDurationSeconds: 40 })
      return true
    })
  })

  t.test(`${name}: a bare pod: bound, run, deleted with grace`, async (t) => {
    const server = await start()
    const source = await sourceOn(t, server)
    const client = server.client()
    source.follow(() => undefined)
    const wanted = (of: string) =>
      source.pods.find(({ pod: { metadata } }) => metadata.name === of)
    await must(client.create(pods, pod('a')))
    await must(client.create(pods, pod('b', { nodeName: 'node-2' })))
    await must(client.create(pods, pod('elsewhere', { nodeName: 'far' })))
    const a = await eventually('a is bound', async () => wanted('a'))
    const b = await eventually('b is seen', async () => wanted('b'))
    t.ok(nodes.includes(a.pod.spec.nodeName ?? ''))
    t.equal(b.pod.spec.nodeName, 'node-2', 'nodeName is respected')
    t.equal(wanted('elsewhere'), undefined)

    source.publish([running(a.pod, '10.244.1.9')])
    await eventually('its status', async () => {
      const { body } = await client.get(`${pods}/a`)
      const { phase } = body['status'] as { phase: string }
      if (phase !== 'Running') return undefined
      t.match(body['status'], {
        podIPs: [{ ip: '10.244.1.9' }],
        containerStatuses: [{ name: 'main', ready: true, image: 'none' }],
      })
      return true
    })
    await must(client.delete(`${pods}/a`, { gracePeriodSeconds: 3 }))
    await eventually('a is no longer wanted', async () => !wanted('a') || undefined)
    t.equal(source.graceSeconds(a.uid ?? ''), 3)
    source.publish([running(a.pod, '10.244.1.9')])
    t.equal((await client.get(`${pods}/a`)).code, 200, 'still there while it runs')
    source.publish([])
    await eventually('the object is gone', async () => {
      return (await client.get(`${pods}/a`)).code === 404 || undefined
    })
  })

  t.test(`${name}: a pod that the lab cannot run has failed`, async (t) => {
    const server = await start()
    const source = await sourceOn(t, server)
    const client = server.client()
    source.follow(() => void source.pods)
    const spec = { containers: [{ name: 'main', image: 'nginx' }] }
    await must(client.create(pods, pod('image', spec)))
    await eventually('its status', async () => {
      const { body } = await client.get(`${pods}/image`)
      const { phase } = body['status'] as { phase: string }
      if (phase !== 'Failed') return undefined
      t.match(body['status'], { reason: 'CannotRun', message: /the lab has no images/ })
      return true
    })
  })

  t.test(`${name}: a Deployment: expanded, scaled, rolled out, deleted`, async (t) => {
    const server = await start()
    const source = await sourceOn(t, server)
    const client = server.client()
    source.follow(() =>
      source.publish(source.pods.map((each) => running(each.pod, '10.244.1.2'))),
    )
    const names = () =>
      source.pods
        .filter(({ pod: { metadata } }) => metadata.labels?.['app'] === 'web')
        .map(({ pod: { metadata } }) => metadata.name)
    const count = (wanted: number) =>
      eventually(`${wanted} pods`, async () => names().length === wanted || undefined)
    const dns = source.wantedCount
    await must(client.apply(`${deployments}/web`, deployment(3), 'test', true))
    await count(3)
    t.equal(source.wantedCount, dns + 3)
    const places = source.pods.map(({ pod: { spec } }) => spec.nodeName)
    t.ok(places.includes('node-1') && places.includes('node-2'), 'spread over the nodes')
    await eventually('its status', async () => {
      const { body } = await client.get(`${deployments}/web`)
      const { readyReplicas } = (body['status'] ?? {}) as { readyReplicas?: number }
      return readyReplicas === 3 || undefined
    })
    await must(client.apply(`${deployments}/web`, deployment(1), 'test', true))
    await count(1)
    const [old] = names()
    await must(client.apply(`${deployments}/web`, deployment(1, '2'), 'test', true))
    await eventually('another generation', async () => {
      return (names().length === 1 && names()[0] !== old) || undefined
    })
    await must(client.delete(`${deployments}/web`))
    await count(0)
  })

  t.test(`${name}: EndpointSlices follow, and go with their Service`, async (t) => {
    const server = await start()
    const source = await sourceOn(t, server)
    const client = server.client()
    const publish = (): void => {
      const views = source.pods.map((each, i) => ({
        ...{ pod: each.pod, node: 'node-1', ready: true, terminating: false },
        addresses: [`10.244.1.${i + 2}`, `fd00::${i + 2}`] as const,
      }))
      const made = source.services.flatMap((each) => endpointSlices(each, views))
      source.publish([
        ...views.map((view) => running(view.pod, view.addresses[0])),
        ...made,
      ])
    }
    source.follow(publish)
    const spec = { selector: { app: 'a' }, ports: [{ port: 80 }] }
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' }, spec }
    await must(client.create('/api/v1/namespaces/default/services', service))
    await must(client.create(pods, pod('a')))
    await eventually('an endpoint', async () => {
      const made = (await itemsOf(client, slices)).filter(
        ({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === 'a',
      )
      const endpoints = made[0]?.['endpoints'] as { addresses: string[] }[] | undefined
      if (endpoints?.length !== 1) return undefined
      t.equal(made.length, 1, 'of the families that the Service has')
      return true
    })
    await must(client.delete('/api/v1/namespaces/default/services/a'))
    await eventually('no slice', async () => {
      const left = (await itemsOf(client, slices)).filter(
        ({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === 'a',
      )
      return left.length === 0 || undefined
    })
  })

  t.test(`${name}: what fails while the server is away is written later`, async (t) => {
    const server = await start()
    const source = await sourceOn(t, server)
    const client = server.client()
    source.follow(() => undefined)
    await must(client.create(pods, pod('a', { nodeName: 'node-1' })))
    const a = await eventually('a is seen', async () =>
      source.pods.find(({ pod: { metadata } }) => metadata.name === 'a'),
    )
    await server.stop()
    source.publish([running(a.pod, '10.244.1.5')])
    await server.start()
    const found = await eventually('its status', async () => {
      const { body } = await server.client().get(`${pods}/a`)
      return (body['status'] as { podIP?: string }).podIP
    })
    t.equal(found, '10.244.1.5')
  })

  t.test(`${name}: where there are controllers, their work is theirs`, async (t) => {
    const server = await start()
    const client = server.client()
    for (const component of ['kube-controller-manager', 'kube-scheduler']) {
      const renewTime = new Date().toISOString().replace('Z', '000Z')
      const spec = { holderIdentity: 'x', leaseDurationSeconds: 60, renewTime }
      const path = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases'
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }
      await must(client.create(path, { ...lease, metadata: { name: component }, spec }))
    }
    const source = await sourceOn(t, server)
    let looks = 0
    source.follow(() => looks++)
    await must(client.create(pods, pod('a')))
    await must(client.apply(`${deployments}/web`, deployment(1), 'test', true))
    await must(client.create(pods, pod('b', { nodeName: 'node-1' })))
    await eventually('b is seen', async () => source.pods.length > 0 || undefined)
    t.same(
      (await itemsOf(client, pods)).map(({ metadata: { name: of }, spec }) => [
        of,
        (spec as { nodeName?: string }).nodeName,
      ]),
      [
        ['a', undefined],
        ['b', 'node-1'],
      ],
    )
  })
}
