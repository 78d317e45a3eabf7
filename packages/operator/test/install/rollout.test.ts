// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// The installer against an API server: install, upgrade, halt, downgrade, uninstall, with the controller and kubelets played.
import { KubeConfig } from '@kubernetes/client-node'
import pino from 'pino'
import t, { type Test } from 'tap'
import {
  startApiServer,
  type KubeObject,
} from '../../../../test/support/apiserver/index.ts'
import { Installer } from '../../src/install/rollout.ts'
import type { NodeView } from '../../src/install/pods.ts'
import type { SubscriberStatus } from '../../src/publish/publisher.ts'
import { EventRecorder } from '../../src/status/events.ts'
import { ApiClient } from '../../src/watch/client.ts'
import { Daemons, namespace } from './support/daemons.ts'
import { create, defaultManifests, installed, until } from './support/installed.ts'

const meshPath = '/apis/mesh.pillion.dev/v1alpha1/meshes'
const limits = { settleMs: 50, timeoutMs: 3_000, maxRestarts: 3, removalMs: 300 }

const subscriber = (
  node: string,
  role: SubscriberStatus['role'],
  change: Partial<SubscriberStatus> = {},
): SubscriberStatus => ({
  ...{ node, role, connected: true, softwareVersion: '1', mapLayout: '' },
  ...{ current: true, ackedVersion: 1, nack: undefined, ...change },
})

async function cluster(t: Test) {
  const server = await startApiServer()
  const admin = server.client()
  const daemons = new Daemons(admin)
  const config = new KubeConfig()
  config.loadFromString(server.kubeconfig())
  const client = new ApiClient(config)
  const names = ['a', 'b', 'c']
  const view: { current: NodeView } = {
    current: {
      version: 1,
      nodes: names,
      subscribers: names.flatMap((node) => [
        subscriber(node, 'agent'),
        subscriber(node, 'proxy'),
      ]),
    },
  }
  const make = (): Installer =>
    new Installer({
      ...{ client, namespace, agentImage: 'agent:1', proxyImage: 'proxy:1', limits },
      ...{ pageSize: 500, backoffMinMs: 5, backoffMaxMs: 50, idleMs: 60_000, tickMs: 20 },
      view: () => view.current,
      nodes: () =>
        new Map(
          view.current.nodes.map((node) => [
            node,
            { labels: daemons.labels.get(node) ?? {}, isReady: true },
          ]),
        ),
      events: new EventRecorder(client, 'test'),
      log: pino({ level: 'silent' }),
    })
  const installer = make()
  t.teardown(async () => {
    await installer.close()
    await daemons.stop()
    client.close()
    await server.close()
  })
  for (const name of names) daemons.nodes.add(name)
  await create(admin, defaultManifests())
  installer.lead(true)
  return { server, admin, daemons, installer, view, make }
}

type Cluster = Awaited<ReturnType<typeof cluster>>

async function reached(
  { admin }: Cluster,
  reason: string,
  ready?: number,
): Promise<string> {
  return until(`${reason} ${ready ?? ''}`, async () => {
    const found = await installed(admin)
    if (found?.reason !== reason) return undefined
    return ready === undefined || found.nodes?.ready === ready ? found.message : undefined
  })
}

const mesh = (spec: object): KubeObject => ({
  apiVersion: 'mesh.pillion.dev/v1alpha1',
  kind: 'Mesh',
  metadata: { name: 'default' },
  spec: { ...spec },
})

const setAgent = async ({ admin }: Cluster, agent: string): Promise<void> => {
  const { code } = await admin.merge(`${meshPath}/default`, {
    spec: { images: { agent } },
  })
  if (code !== 200) throw new Error(String(code))
}

const images = async ({ daemons }: Cluster): Promise<string> =>
  (await daemons.pods())
    .sort((x, y) => (x.node < y.node ? -1 : 1))
    .map(({ node, image }) => `${node} ${image}`)
    .join(', ')

t.test('install, upgrade, downgrade, uninstall', async (t) => {
  const c = await cluster(t)
  await create(c.admin, [mesh({})])
  await reached(c, 'Installed', 3)
  t.equal(await images(c), 'a agent:1, b agent:1, c agent:1')
  const { body } = await c.admin.get(`${meshPath}/default`)
  t.match(body['metadata'], { finalizers: ['mesh.pillion.dev/datapath'] })

  c.daemons.leastReady = 3
  await setAgent(c, 'agent:2')
  await until(
    'upgraded',
    async () => (await images(c)) === 'a agent:2, b agent:2, c agent:2',
  )
  await reached(c, 'Installed', 3)
  t.equal(c.daemons.leastReady, 2, 'never more than one node at a time')
  t.same(
    c.daemons.made.slice(3).map(({ node }) => node),
    ['a', 'b', 'c'],
  )
  await setAgent(c, 'agent:1')
  await until('back', async () => (await images(c)) === 'a agent:1, b agent:1, c agent:1')
  await reached(c, 'Installed', 3)
  t.equal(c.daemons.leastReady, 2)

  t.match(c.installer.counts, { replaced: 6, halted: 0 })
  await c.admin.delete(`${meshPath}/default`)
  await until('gone', async () => (await c.admin.get(`${meshPath}/default`)).code === 404)
  const sets = await c.admin.get(`/apis/apps/v1/namespaces/${namespace}/daemonsets`)
  t.same(sets.body['items'], [], 'no DaemonSet is left')
  const removed = c.daemons.made.filter(({ isRemoval }) => isRemoval)
  t.same(removed.map(({ node }) => node).sort(), ['a', 'b', 'c'], 'each node was cleaned')
})

t.test('a node that is not well halts; another spec goes on', async (t) => {
  const c = await cluster(t)
  await create(c.admin, [mesh({})])
  await reached(c, 'Installed', 3)
  c.daemons.statusOf = ({ image, node }) =>
    image === 'agent:bad' && node === 'a'
      ? { conditions: [{ type: 'Ready', status: 'False' }] }
      : {}
  await setAgent(c, 'agent:bad')
  t.match(await reached(c, 'Halted'), /2 of 3 nodes|0 of 3 nodes.*a is not ready/)
  t.equal(await images(c), 'a agent:bad, b agent:1, c agent:1', 'nobody else was touched')
  await until('somebody is told', async () => {
    const events = await c.admin.get('/apis/events.k8s.io/v1/namespaces/default/events')
    const all = (events.body['items'] ?? []) as Record<string, unknown>[]
    return all.some(
      ({ reason, note }) => reason === 'Halted' && /a is not/.test(String(note)),
    )
  })
  c.daemons.statusOf = () => ({})

  await c.installer.close()
  const next = c.make()
  t.teardown(() => next.close())
  next.lead(true)
  const before = c.daemons.made.length
  await until('looked at by the next leader', async () => {
    const found = await installed(c.admin)
    return found?.reason === 'Halted' && found.nodes?.ready === 1
  })
  t.equal(c.daemons.made.length, before, 'halted is halted, whoever leads')

  await setAgent(c, 'agent:3')
  await reached(c, 'Installed', 3)
  t.equal(await images(c), 'a agent:3, b agent:3, c agent:3')
})

t.test('Ready is not enough: the processes have to hold the configuration', async (t) => {
  const c = await cluster(t)
  await create(c.admin, [mesh({})])
  await reached(c, 'Installed', 3)
  const all = c.view.current.subscribers
  const without = all.filter(({ node, role }) => node !== 'a' || role !== 'proxy')
  c.view.current = { ...c.view.current, subscribers: without }
  await setAgent(c, 'agent:2')
  t.match(await reached(c, 'Halted'), /a: its proxy is not connected/)
  t.equal(await images(c), 'a agent:2, b agent:1, c agent:1')

  const nack = { version: 1, reason: 'map layout' }
  c.view.current = {
    ...c.view.current,
    subscribers: [...without, subscriber('a', 'proxy', { nack })],
  }
  await setAgent(c, 'agent:3')
  await until('another reason', async () =>
    /a: its proxy refused: map layout/.test(await reached(c, 'Halted')),
  )
  c.view.current = { ...c.view.current, subscribers: all }
  await setAgent(c, 'agent:1')
  await reached(c, 'Installed', 3)
})

t.test(
  'a node that cannot be cleaned holds the Mesh; a node that is gone does not',
  async (t) => {
    const c = await cluster(t)
    await create(c.admin, [mesh({})])
    await reached(c, 'Installed', 3)
    c.daemons.statusOf = ({ isRemoval, node }) =>
      isRemoval && node === 'b'
        ? {
            conditions: [{ type: 'Ready', status: 'False' }],
            initContainerStatuses: [
              {
                ...{ name: 'uninstall', restartCount: 3, ready: false },
                lastState: { terminated: { message: 'pillion-agent: EPERM' } },
              },
            ],
          }
        : {}
    await c.admin.delete(`${meshPath}/default`)
    const said = await reached(c, 'UninstallLate')
    t.match(said, /2 of 3 nodes are clean; b: container uninstall ended 3 times: .*EPERM/)
    t.match(said, /finalizer mesh\.pillion\.dev\/datapath/, 'it says what can be done')
    t.equal((await c.admin.get(`${meshPath}/default`)).code, 200)

    c.view.current = { ...c.view.current, nodes: ['a', 'c'] }
    await until(
      'gone',
      async () => (await c.admin.get(`${meshPath}/default`)).code === 404,
    )
  },
)

t.test(
  'a node that the selector leaves out later is cleaned, and until then the Mesh says so',
  async (t) => {
    const c = await cluster(t)
    await create(c.admin, [mesh({})])
    await reached(c, 'Installed', 3)
    for (const node of ['a', 'b']) c.daemons.labels.set(node, { mesh: 'yes' })
    c.daemons.cleanerStatusOf = () => ({
      phase: 'Running',
      containerStatuses: [
        {
          ...{ name: 'uninstall', restartCount: 3, ready: false },
          lastState: { terminated: { message: 'pillion-agent: EPERM' } },
        },
      ],
    })
    const before = c.daemons.made.length
    const select = (nodeSelector: object | null) =>
      c.admin.merge(`${meshPath}/default`, { spec: { nodeSelector } })
    await select({ mesh: 'yes' })
    await until('said', async () =>
      /2 of 2 nodes; taking the datapath from 1 left out: c: container uninstall ended 3 times: .*EPERM/.test(
        await reached(c, 'Progressing'),
      ),
    )
    t.strictSame(c.daemons.cleaned, [])

    t.equal(c.daemons.made.length, before, 'nobody who stays is replaced')

    // Another operator goes on with what the first one knew.
    await c.installer.close()
    const next = c.make()
    t.teardown(() => next.close())
    c.daemons.cleanerStatusOf = () => ({ phase: 'Succeeded' })
    next.lead(true)
    t.equal(await reached(c, 'Installed', 2), '2 of 2 nodes')
    t.strictSame(c.daemons.cleaned, ['c'])
    const cleaners = async (): Promise<number> => {
      const { body } = await c.admin.get(`/api/v1/namespaces/${namespace}/pods`)
      return (body['items'] as KubeObject[]).filter(({ metadata }) =>
        metadata.name.startsWith('pillion-clean-'),
      ).length
    }
    await until('its pod is gone', async () => (await cleaners()) === 0)

    // By a label of the node, without any change of the Mesh.
    c.daemons.labels.set('b', {})
    await until('b', () => c.daemons.cleaned.join() === 'c,b')
    t.equal(await reached(c, 'Installed', 1), '1 of 1 nodes')

    await select(null)
    t.equal(await reached(c, 'Installed', 3), '3 of 3 nodes')
    await until('nobody is left out', async () => (await cleaners()) === 0)
    t.strictSame(c.daemons.cleaned, ['c', 'b'])
    await c.admin.delete(`${meshPath}/default`)
    await until(
      'gone',
      async () => (await c.admin.get(`${meshPath}/default`)).code === 404,
    )
  },
)
