// SPDX-License-Identifier: Apache-2.0
// Status subresources on API servers: written when they change and only then, beside what others write.
import { setImmediate as turn } from 'node:timers/promises'
import pino from 'pino'
import t, { type Test } from 'tap'
import {
  apiServers,
  startApiServer,
  type KubeObject,
  type StandIn,
} from '../../../../test/support/apiserver/index.ts'
import type { Condition } from '../../src/compile/condition.ts'
import type { ObjectStatus } from '../../src/status/conditions.ts'
import { controllerName } from '../../src/status/desired.ts'
import { EventRecorder } from '../../src/status/events.ts'
import { KubernetesStatus } from '../../src/status/kubernetes.ts'
import { KubernetesSource } from '../../src/watch/kubernetes.ts'
import { clusterOf, namespace, route, service, type Cluster } from '../support/cluster.ts'
import { until } from '../support/running.ts'

const accepted: Condition = {
  type: 'Accepted',
  status: 'True',
  reason: 'Accepted',
  message: 'in force',
}
const refused: Condition = {
  type: 'Accepted',
  status: 'False',
  reason: 'Conflicted',
  message: 'another has it',
}
const programmed = (done: number): Condition => ({
  type: 'Programmed',
  status: done === 3 ? 'True' : 'False',
  reason: done === 3 ? 'Programmed' : 'Pending',
  message: `acknowledged by ${done} of 3 nodes`,
})

const parentRef = { group: '', kind: 'Service', name: 'web' }

const routeStatus = (...conditions: Condition[]): ObjectStatus => ({
  ...{ kind: 'HTTPRoute', namespace: 'shop', name: 'r', observedGeneration: 1 },
  conditions,
  parents: [{ parentRef, conditions }],
})
const meshStatus = (...conditions: Condition[]): ObjectStatus => ({
  ...{ kind: 'Mesh', namespace: '', name: 'default', observedGeneration: 1 },
  conditions,
  parents: [],
})

const unknownMode: Condition = {
  type: 'PartiallyInvalid',
  status: 'True',
  reason: 'UnsupportedValue',
  message: 'no mode',
}
const policyStatus = (...conditions: Condition[]): ObjectStatus => ({
  ...{ kind: 'NetworkPolicy', namespace: 'shop', name: 'p', observedGeneration: 1 },
  conditions,
  parents: [],
})
const networkPolicy = `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: {podSelector: {}}
`

const mesh = `
---
apiVersion: mesh.pillion.dev/v1alpha1
kind: Mesh
metadata: {name: default}
spec: {}
`

interface Writer {
  readonly status: KubernetesStatus
  readonly source: KubernetesSource
  write(...objects: ObjectStatus[]): void
}

async function writer(t: Test, cluster: Cluster, perObjectMs = 20): Promise<Writer> {
  const { client } = await cluster.line()
  const log = pino({ level: 'silent' })
  const source = new KubernetesSource({
    ...{ client, log, debounceMs: 5, pageSize: 500, idleMs: 60_000 },
    ...{ syncWarnMs: 60_000, backoffMinMs: 5, backoffMaxMs: 50 },
  })
  const events = new EventRecorder(client, 'pod')
  const status = new KubernetesStatus({
    ...{ client, objects: source, events, log, perObjectMs },
  })
  t.teardown(async () => {
    await status.close()
    await source.close()
  })
  await source.start(() => undefined)
  return {
    status,
    source,
    write: (...objects) =>
      status.write({ version: 1, objects, errors: [], subscribers: [] }),
  }
}

type Conditions = (Condition & {
  lastTransitionTime: string
  observedGeneration: number
})[]

const parentsOf = ({ status }: KubeObject) =>
  ((status as { parents?: unknown } | undefined)?.parents ?? []) as {
    controllerName: string
    parentRef: object
    conditions: Conditions
  }[]
const routeOf = (cluster: Cluster) => cluster.get('HTTPRoute', 'shop', 'r')

async function shop(t: Test, cluster: Cluster): Promise<Writer> {
  await cluster.apply(
    namespace('shop') + service('shop', 'web') + route('shop', 'r', '/a') + mesh,
  )
  return writer(t, cluster)
}

for (const { name, start } of apiServers()) {
  t.test(`${name}: conditions of ours by apply, of routes beside others`, async (t) => {
    const cluster = await clusterOf(t, await start())
    const other = {
      ...{ controllerName: 'example.com/other', parentRef: { name: 'gateway' } },
      conditions: [
        {
          ...{ type: 'Accepted', status: 'True', reason: 'Accepted', message: '' },
          ...{ observedGeneration: 1, lastTransitionTime: '2026-01-01T00:00:00Z' },
        },
      ],
    }
    const { status, write } = await shop(t, cluster)
    const path = '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/r/status'
    await cluster.admin.merge(path, { status: { parents: [other] } })
    write(routeStatus(accepted, programmed(0)), meshStatus(accepted))
    status.lead(true)
    await until('both', async () => {
      const ours = await cluster.get('Mesh', '', 'default')
      return parentsOf(await routeOf(cluster)).length === 2 && ours.status !== undefined
    })
    const [first, ours] = parentsOf(await routeOf(cluster))
    t.same(first, other, 'the other controller keeps its entry')
    t.match(ours, { controllerName, parentRef })
    t.match(ours?.conditions, [
      { ...accepted, observedGeneration: 1, lastTransitionTime: /^\d{4}-.*:\d\dZ$/ },
      programmed(0),
    ])
    const before = await cluster.get('Mesh', '', 'default')
    t.match(before.metadata.managedFields?.at(-1), {
      ...{ manager: 'pillion-operator', operation: 'Apply', subresource: 'status' },
    })

    // A message may change as it likes: the time is of the status.
    const since = ours?.conditions[1]?.lastTransitionTime
    write(routeStatus(accepted, programmed(2)), meshStatus(accepted))
    await until('the message', async () =>
      JSON.stringify(await routeOf(cluster)).includes('by 2 of 3'),
    )
    const changed = parentsOf(await routeOf(cluster))[1]
    t.equal(changed?.conditions[1]?.lastTransitionTime, since)
    t.equal(
      (await cluster.get('Mesh', '', 'default')).metadata.resourceVersion,
      before.metadata.resourceVersion,
      'what did not change was not written',
    )

    write(meshStatus(accepted))
    await until('withdrawn', async () => parentsOf(await routeOf(cluster)).length === 1)
    t.same(parentsOf(await routeOf(cluster)), [other])
  })

  t.test(`${name}: only the leader writes; the next goes on where it was`, async (t) => {
    const cluster = await clusterOf(t, await start())
    const first = await shop(t, cluster)
    const second = await writer(t, cluster)
    first.status.lead(true)
    for (const each of [first, second]) each.write(routeStatus(accepted, programmed(1)))
    await until('written', async () => parentsOf(await routeOf(cluster)).length === 1)
    first.status.lead(false)
    // Nobody leads while this becomes true.
    for (const each of [first, second]) each.write(routeStatus(accepted, programmed(3)))
    t.equal(second.status.writes.size, 0)
    second.status.lead(true)
    await until('the update that no leader saw', async () =>
      JSON.stringify(await routeOf(cluster)).includes('by 3 of 3'),
    )
    // The server shows a write before its answer is here.
    await until('its answer', () => second.status.writes.size > 0)
    t.same([...second.status.writes], [['HTTPRoute', 1]])
    t.same([...first.status.writes], [['HTTPRoute', 1]])
  })

  t.test(
    `${name}: somebody else's write between is kept, and ours repeated`,
    async (t) => {
      const cluster = await clusterOf(t, await start())
      const { status, write } = await shop(t, cluster)
      status.lead(true)
      write(routeStatus(accepted))
      await until('written', async () => parentsOf(await routeOf(cluster)).length === 1)
      const path =
        '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/r/status'
      await cluster.admin.merge(path, { status: { parents: [] } })
      await until('again', async () => parentsOf(await routeOf(cluster)).length === 1)
    },
  )

  t.test(`${name}: an event when something turns bad, once`, async (t) => {
    const cluster = await clusterOf(t, await start())
    const { status, write } = await shop(t, cluster)
    status.lead(true)
    const events = async (): Promise<Record<string, unknown>[]> => {
      const path = '/apis/events.k8s.io/v1/namespaces/shop/events'
      return ((await cluster.admin.get(path)).body['items'] ?? []) as never
    }
    write(routeStatus(accepted, programmed(1)))
    await until('written', async () => parentsOf(await routeOf(cluster)).length === 1)
    write(routeStatus(refused))
    await until('the event', async () => (await events()).length === 1)
    t.match((await events())[0], {
      ...{ type: 'Warning', reason: 'Conflicted', note: 'Accepted: another has it' },
      regarding: { kind: 'HTTPRoute', namespace: 'shop', name: 'r' },
    })
    write(routeStatus(accepted))
    await until('good again', async () =>
      JSON.stringify(await routeOf(cluster)).includes('in force'),
    )
    write(routeStatus(refused))
    await until('bad again', async () =>
      JSON.stringify(await routeOf(cluster)).includes('another has it'),
    )
    t.equal((await events()).length, 1, 'it was said a moment ago')
  })

  t.test(
    `${name}: what has no status of ours is told by events, by the leader`,
    async (t) => {
      const cluster = await clusterOf(t, await start())
      await cluster.apply(namespace('shop') + networkPolicy)
      const { status, write } = await writer(t, cluster)
      const events = async (): Promise<Record<string, unknown>[]> => {
        const path = '/apis/events.k8s.io/v1/namespaces/shop/events'
        return ((await cluster.admin.get(path)).body['items'] ?? []) as never
      }
      write(policyStatus(accepted, unknownMode))
      await turn()
      t.equal((await events()).length, 0, 'not by who does not lead')
      status.lead(true)
      await until('the event', async () => (await events()).length === 1)
      const { metadata } = await cluster.get('NetworkPolicy', 'shop', 'p')
      t.match((await events())[0], {
        ...{ reason: 'UnsupportedValue', note: 'PartiallyInvalid: no mode' },
        regarding: { kind: 'NetworkPolicy', name: 'p', uid: metadata['uid'] },
      })
      write(policyStatus(accepted, unknownMode, programmed(1)))
      write(policyStatus(accepted, { ...unknownMode, message: 'again' }))
      await until('another word', async () => (await events()).length === 2)
    },
  )
}

async function standIn(t: Test): Promise<[StandIn, Cluster]> {
  const server = await startApiServer()
  return [server, await clusterOf(t, server)]
}

const writesOf = (server: StandIn): number =>
  server.calls.filter(({ subresource }) => subresource === 'status').length

t.test('flapping nodes: one write in a while, the last word wins', async (t) => {
  const [server, cluster] = await standIn(t)
  await cluster.apply(
    namespace('shop') + service('shop', 'web') + route('shop', 'r', '/a'),
  )
  const { status, write } = await writer(t, cluster, 300)
  status.lead(true)
  const before = writesOf(server)
  for (let i = 0; i < 200; i++) {
    write(routeStatus(accepted, programmed(i % 3)))
    await turn()
  }
  write(routeStatus(accepted, programmed(3)))
  await until('the last', async () =>
    JSON.stringify(await routeOf(cluster)).includes('by 3 of 3'),
  )
  t.ok(writesOf(server) - before <= 3, `${writesOf(server) - before} writes`)
})

t.test('429, 500 and conflicts are tried again, and nothing is lost', async (t) => {
  const [server, cluster] = await standIn(t)
  const { status, write } = await shop(t, cluster)
  for (const code of [429, 500, 409])
    server.failNext(1, code, ({ subresource }) => subresource === 'status')
  status.lead(true)
  write(routeStatus(accepted), meshStatus(accepted))
  await until('both', async () => {
    const ours = await cluster.get('Mesh', '', 'default')
    return parentsOf(await routeOf(cluster)).length === 1 && ours.status !== undefined
  })
  t.equal(status.failures, 3)
})
