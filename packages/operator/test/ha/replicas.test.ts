// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// Two whole operators on one API server: both serve, one writes, and a fail-over under load loses nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { emptyResources, Role, subscribe, type Resources } from '@pillion/contract'
import pino from 'pino'
import t, { type Test } from 'tap'
import { apiServers } from '../../../../test/support/apiserver/index.ts'
import { startOperator, type Operator } from '../../src/operator.ts'
import { parseOptions } from '../../src/options.ts'
import {
  clusterOf,
  namespace,
  route,
  service,
  type Cluster,
  type Line,
} from '../support/cluster.ts'
import { until } from '../support/running.ts'

interface Replica {
  readonly operator: Operator
  readonly address: string
  readonly line: Line
  metrics(): Promise<string>
}

async function replica(t: Test, cluster: Cluster, name: string): Promise<Replica> {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-replica-'))
  const { line, kubeconfig } = await cluster.line()
  writeFileSync(join(dir, 'kubeconfig'), kubeconfig)
  const address = `unix:${dir}/operator.sock`
  const argv = [
    ...['--source', 'kubernetes', '--kubeconfig', join(dir, 'kubeconfig')],
    ...['--namespace', 'default', '--pod-name', name],
    ...['--listen', address, '--admin-socket', `${dir}/admin.sock`],
    ...['--status-delay', '5', '--lease-duration', '1000'],
    ...['--lease-renew-deadline', '600', '--lease-retry', '50'],
  ]
  const operator = await startOperator(parseOptions(argv, {}), pino({ level: 'silent' }))
  t.teardown(async () => {
    await operator.close()
    rmSync(dir, { recursive: true })
  })
  const metrics = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const path = { socketPath: `${dir}/admin.sock`, path: '/metrics' }
      get(path, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (part: string) => (body += part))
        response.on('end', () => resolve(body))
      }).on('error', reject)
    })
  return { operator, address, line, metrics }
}

function node(t: Test, address: string, name: string): Record<Role, Resources> {
  const held = {} as Record<Role, Resources>
  for (const role of [Role.AGENT, Role.PROXY]) {
    held[role] = emptyResources()
    const subscription = subscribe({
      ...{ address, node: name, role, backoffMinMs: 5, backoffMaxMs: 50 },
      onUpdate: (next: Resources) => {
        held[role] = next
      },
    })
    t.teardown(() => subscription.close())
  }
  return held
}

const nodes = ['n1', 'n2']
  .map((name) => `---\napiVersion: v1\nkind: Node\nmetadata: {name: ${name}}\n`)
  .join('')
const pod = `
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: web, image: web}]}
`

async function programmed(cluster: Cluster, name: string): Promise<string> {
  const { status } = await cluster.get('HTTPRoute', 'shop', name)
  const { parents = [] } = (status ?? {}) as {
    parents?: { conditions: { type: string; status: string; message: string }[] }[]
  }
  const found = parents[0]?.conditions.find(({ type }) => type === 'Programmed')
  return `${found?.status} ${found?.message}`
}
const all = 'True acknowledged by 2 of 2 nodes'

async function holder(cluster: Cluster): Promise<string> {
  const path = '/apis/coordination.k8s.io/v1/namespaces/default/leases/pillion-operator'
  const { spec } = (await cluster.admin.get(path)).body as {
    spec?: { holderIdentity?: string }
  }
  return (spec?.holderIdentity ?? '').replace(/_.*/, '')
}

for (const { name, start } of apiServers()) {
  t.test(`${name}: a node at each replica; status counts both`, async (t) => {
    const cluster = await clusterOf(t, await start())
    await cluster.apply(namespace('shop') + nodes + service('shop', 'web') + pod)
    const a = await replica(t, cluster, 'a')
    await until('a leads', async () => (await holder(cluster)) === 'a')
    const b = await replica(t, cluster, 'b')
    const [first, second] = [node(t, a.address, 'n1'), node(t, b.address, 'n2')]
    await cluster.apply(route('shop', 'r', '/a'))
    await until('n2 is counted', async () => (await programmed(cluster, 'r')) === all)
    const numbers = (held: Record<Role, Resources>) => ({
      identities: [...held[Role.AGENT].identity.keys()].sort(),
      ports: [...held[Role.AGENT].servicePort].map(([key, { id }]) => [key, id]).sort(),
    })
    t.same(numbers(first), numbers(second), 'both replicas number alike')
    t.equal(first[Role.AGENT].identity.size, 1)

    const [metricsOfA, metricsOfB] = await Promise.all([a.metrics(), b.metrics()])
    t.match(metricsOfA, /^pillion_operator_leader 1$/m)
    t.match(metricsOfB, /^pillion_operator_leader 0$/m)
    t.match(metricsOfB, /^pillion_operator_watch_objects\{kind="HTTPRoute"\} 1$/m)
    t.match(metricsOfB, /^pillion_operator_watch_lists_total\{kind="Pod"\} 1$/m)
    t.match(
      metricsOfA,
      /^pillion_operator_status_writes_total\{what="HTTPRoute"\} [1-9]/m,
    )
    t.match(metricsOfB, /^pillion_operator_status_writes_total\{what="failed"\} 0$/m)

    // The leader goes while routes arrive: nobody tells the next one what it has missed.
    const names = Array.from({ length: 20 }, (_, i) => `r${i}`)
    const load = (async (): Promise<void> => {
      for (const each of names) await cluster.apply(route('shop', each, `/${each}`))
    })()
    await until(
      'some are programmed',
      async () => (await programmed(cluster, 'r3')) === all,
    )
    a.line.cut()
    await load
    await until('b leads', async () => (await holder(cluster)) === 'b')
    await until('every route has its parent', async () => {
      const found = await Promise.all(names.map((each) => programmed(cluster, each)))
      return found.every((text) => /acknowledged by [12] of 2/.test(text))
    })
    await until(
      'every route is at the node of the new leader',
      () => second[Role.PROXY].routeTable.get('shop/web:80/TCP')?.rules.length === 21,
    )
    a.line.heal()
    await until('a has caught up, and tells b', async () => {
      const found = await Promise.all(names.map((each) => programmed(cluster, each)))
      return found.every((text) => text === all)
    })
    t.equal(first[Role.PROXY].routeTable.get('shop/web:80/TCP')?.rules.length, 21)
    t.equal(await holder(cluster), 'b')
  })
}
