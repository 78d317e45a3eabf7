// SPDX-License-Identifier: Apache-2.0
// install, upgrade and uninstall against the API server stand-in. What an operator, a controller manager and kubelets would do
// is done by the test, as their own tests say that they do it.
// timeout: 180
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { namespace, startCluster, type TestCluster } from '../support/cluster.ts'

t.setTimeout(120_000)

const deployment = `/apis/apps/v1/namespaces/${namespace}/deployments/pillion-operator`
const daemonSets = `/apis/apps/v1/namespaces/${namespace}/daemonsets`
const pods = `/api/v1/namespaces/${namespace}/pods`
const mesh = '/apis/mesh.pillion.dev/v1alpha1/meshes/default'
const finalizer = 'mesh.pillion.dev/datapath'

type Json = Record<string, unknown>
interface Mesh {
  metadata: { generation: number; deletionTimestamp?: string; finalizers?: string[] }
}

/** The others of a cluster, until `stop`. */
function runOthers(cluster: TestCluster, logs: (pod: string) => string) {
  const { client, kubelet } = cluster
  const state = { stopped: false, installed: 'Installed' as string }
  const turn = async (): Promise<void> => {
    const deployed = await client.get(deployment)
    if (deployed.code === 200) {
      const { generation } = (deployed.body as unknown as Mesh).metadata
      const counts = { replicas: 2, updatedReplicas: 2, availableReplicas: 2 }
      const status = { observedGeneration: generation, ...counts }
      await client.merge(`${deployment}/status`, { status })
    }
    const found = await client.get(mesh)
    if (found.code === 200) await operate(found.body as unknown as Mesh)
    const { items } = (await client.get(pods)).body as unknown as {
      items: { metadata: { name: string }; status?: { phase?: string } }[]
    }
    for (const { metadata, status } of items) {
      if (!metadata.name.startsWith('pillion-verify-') || status?.phase === 'Succeeded')
        continue
      kubelet.logs.set(metadata.name, logs(metadata.name))
      await client.merge(`${pods}/${metadata.name}/status`, {
        status: { phase: 'Succeeded' },
      })
    }
  }
  const operate = async ({ metadata }: Mesh): Promise<void> => {
    if (metadata.deletionTimestamp !== undefined) {
      await client.merge(mesh, { metadata: { finalizers: [] } })
      return
    }
    if (metadata.finalizers === undefined)
      await client.merge(mesh, { metadata: { finalizers: [finalizer] } })
    const condition = {
      ...{ type: 'Installed', reason: state.installed, message: '2 of 2 nodes' },
      status: state.installed === 'Installed' ? 'True' : 'False',
      observedGeneration: metadata.generation,
      lastTransitionTime: new Date().toISOString(),
    }
    await client.merge(`${mesh}/status`, { status: { conditions: [condition] } })
  }
  const running = (async () => {
    while (!state.stopped) {
      await turn()
      await sleep(50)
    }
  })()
  return {
    state,
    stop: async () => {
      state.stopped = true
      await running
    },
  }
}

const clean = 'clean: no program of ours on a hook, nothing at /sys/fs/bpf/pillion\n'

/** What the operator makes of the Mesh, as far as `--verify` reads it. */
async function nodesOf(cluster: TestCluster): Promise<void> {
  const labels = { app: 'n' }
  const spec = {
    serviceAccountName: 'pillion-node',
    hostNetwork: true,
    containers: [
      {
        ...{ name: 'agent', image: 'agent:1' },
        args: ['--node=x', '--pin-dir=/p', '--cgroup-root=/c', '--state-dir=/s'],
        volumeMounts: [
          { name: 'bpf', mountPath: '/p' },
          { name: 'ca', mountPath: '/ca' },
        ],
      },
      { name: 'proxy', image: 'proxy:1' },
    ],
    volumes: [
      { name: 'bpf', hostPath: { path: '/p' } },
      { name: 'ca', configMap: { name: 'pillion-ca' } },
    ],
  }
  await cluster.create(daemonSets, {
    ...{ apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'pillion-node' } },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec },
    },
  })
  for (const node of ['node-1', 'node-2'])
    await cluster.pod(`on-${node}`, 'pillion-node', node, { agent: {}, proxy: {} })
}

t.test('install, upgrade, uninstall --verify', async (t) => {
  const cluster = await startCluster()
  const others = runOthers(cluster, () => clean)
  t.teardown(async () => {
    await others.stop()
    await cluster.close()
  })

  const early = await cluster.pillion('upgrade')
  t.match(early, { code: 3, err: /no Mesh to upgrade; use pillion install/ })

  const dry = await cluster.pillion('install', '--dry-run')
  t.match(dry, { code: 0, out: /created\s+Deployment pillion-system\/pillion-operator/ })
  t.match(dry.out, /created\s+Mesh default\s+its kind comes with this installation/)
  t.equal((await cluster.client.get(deployment)).code, 404, 'nothing was changed')

  const installed = await cluster.pillion('install')
  t.match(installed, { code: 0, out: /created\s+Mesh default/ }, installed.err)
  t.match(installed.err, /✓ definitions .*\n✓ apply .*\n✓ Deployment .*\n✓ nodes /)

  const again = await cluster.pillionJson<{ objects: { change: string }[] }>('install')
  t.same([...new Set(again.objects.map(({ change }) => change))], ['unchanged'])

  const file = join(cluster.dir, 'mesh.yaml')
  const head =
    'apiVersion: mesh.pillion.dev/v1alpha1\nkind: Mesh\nmetadata: { name: default }\n'
  writeFileSync(file, `${head}spec: { failureMode: Reject }\n`)
  const changed = await cluster.pillion('upgrade', '-f', file)
  t.match(changed, { code: 0, out: /configured\s+Mesh default/ }, changed.err)
  const { body } = await cluster.client.get(mesh)
  t.match(body, { spec: { failureMode: 'Reject' } })

  others.state.installed = 'Halted'
  writeFileSync(file, `${head}spec: { failureMode: Bypass }\n`)
  const halted = await cluster.pillion('upgrade', '-f', file)
  t.match(halted, { code: 1, err: /Halted: 2 of 2 nodes/ }, 'waiting would not help')
  others.state.installed = 'Progressing'
  const slow = await cluster.pillion('install', '--timeout', '1')
  t.match(slow, { code: 4, err: /not in 1 s: Progressing: 2 of 2 nodes/ })

  await nodesOf(cluster)
  const gone = await cluster.pillion('uninstall', '--verify')
  t.match(gone, { code: 0, out: /node-1\s+✓\s+clean:[^]*node-2\s+✓\s+clean:/ }, gone.err)
  t.equal((await cluster.client.get(deployment)).code, 404)
  t.equal((await cluster.client.get(mesh)).code, 404)
  const crds = await cluster.client.get(
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  )
  t.same((crds.body as { items: Json[] }).items, [])
})

t.test('a node that is not clean is named, and the exit code says so', async (t) => {
  const cluster = await startCluster()
  const others = runOthers(cluster, (pod) =>
    pod.endsWith('node-2') ? `removed /sys/fs/bpf/pillion/x\n${clean}` : clean,
  )
  t.teardown(async () => {
    await others.stop()
    await cluster.close()
  })
  await cluster.pillion('install')
  await nodesOf(cluster)
  const left = await cluster.pillion('uninstall', '--verify', '--keep-crds')
  t.match(left, {
    code: 1,
    out: /node-1\s+✓[^]*node-2\s+✗\s+was left, and is removed now/,
  })
  const crds = await cluster.client.get(
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  )
  t.ok((crds.body as { items: Json[] }).items.length > 2, '--keep-crds')
})

t.test('a Mesh that nobody cleans up keeps everything else in place', async (t) => {
  const cluster = await startCluster()
  const others = runOthers(cluster, () => clean)
  t.teardown(() => cluster.close())
  await cluster.pillion('install')
  await others.stop()
  const stuck = await cluster.pillion('uninstall', '--timeout', '1')
  t.match(stuck, {
    code: 4,
    err: /still has its finalizer.*nothing else has been removed/,
  })
  t.equal((await cluster.client.get(deployment)).code, 200)
})

t.test('where there is nothing, nothing is proved', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  const run = await cluster.pillion('uninstall', '--verify')
  t.match(run, { code: 1, out: /nothing is proved/ })
})
