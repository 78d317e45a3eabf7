// SPDX-License-Identifier: Apache-2.0
// Secrets are planted wherever a cluster may hold them; none may be in the archive, which the system's own tar reads.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadManifests } from '../../src/install/kustomize.ts'
import { namespace, startCluster, type TestCluster } from '../support/cluster.ts'

// Each run of the command is a process: slow on a busy machine.
t.setTimeout(110_000)

const crds = join(import.meta.dirname, '../../../../manifests/crd')
const jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl'
const planted = [
  ...['env-secret-5f1', 'annotation-secret-1', 'data-secret-2', 'header-secret-3'],
  ...['log-secret-4', 'log-field-secret-5', 'event-secret-6', 'query-secret-7', jwt],
  ...['pem-secret-8', 'metric-secret-9', 'url-secret-10', 'error-secret-11'],
]

async function plantObjects(cluster: TestCluster): Promise<void> {
  for (const crd of loadManifests(crds))
    await cluster.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const own = `/api/v1/namespaces/${namespace}`
  await cluster.create(`${own}/secrets`, {
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' } },
    stringData: { password: 'data-secret-2' },
  })
  await cluster.create(`${own}/services`, {
    ...{ apiVersion: 'v1', kind: 'Service' },
    metadata: { name: 'planted', annotations: { note: 'annotation-secret-1' } },
    spec: { ports: [{ port: 80 }] },
  })
  await cluster.create(`${own}/events`, {
    ...{ apiVersion: 'v1', kind: 'Event', metadata: { name: 'e' } },
    ...{ reason: 'Failed', type: 'Warning', involvedObject: { kind: 'Pod', name: 'p' } },
    message: `pull failed with password=event-secret-6 and Bearer ${jwt}`,
  })
  await cluster.create('/apis/mesh.pillion.dev/v1alpha1/namespaces/default/l7services', {
    ...{ apiVersion: 'mesh.pillion.dev/v1alpha1', kind: 'L7Service' },
    metadata: { name: 'web' },
    spec: { targetRef: { name: 'web' }, protocol: 'http' },
  })
}

async function plantProcesses(cluster: TestCluster): Promise<void> {
  const route = {
    match: { headers: [{ name: 'x-key', kind: 1, value: 'header-secret-3' }] },
    filters: [
      { requestHeaders: { set: [{ name: 'authorization', value: 'header-secret-3' }] } },
    ],
  }
  await cluster.pod('operator-0', 'pillion-operator', 'node-1', {
    operator: {
      '/debug/status': {
        version: 9,
        nodes: [],
        errors: [{ text: 'token: error-secret-11' }],
      },
      '/metrics': 'pillion_x{url="http://u:metric-secret-9@h/?k=query-secret-7"} 1\n',
    },
  })
  await cluster.pod('node-a', 'pillion-node', 'node-1', {
    agent: {
      '/debug/config': { resources: { routeTable: { t: { rules: [route] } } } },
      '/debug/diff': [],
    },
    proxy: {},
  })
  const lines = [
    JSON.stringify({
      level: 30,
      msg: 'request',
      url: '/a?x=query-secret-7',
      auth: 'log-field-secret-5',
    }),
    JSON.stringify({
      level: 30,
      msg: `connected to https://u:url-secret-10@host/ with ${jwt}`,
    }),
    'plain line with Authorization: Bearer log-secret-4 in it',
    '-----BEGIN PRIVATE KEY----- pem-secret-8 -----END PRIVATE KEY-----',
  ]
  cluster.kubelet.logs.set('node-a/agent', lines.join('\n'))
  cluster.kubelet.logs.set('operator-0/operator', '{"level":30,"msg":"serving"}\n')
}

t.test('a sysdump has everything but secrets', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  await plantObjects(cluster)
  await plantProcesses(cluster)

  const run = await cluster.pillion('sysdump', '-o', 'dump.tar.gz')
  t.match(run, { code: 0, out: /dump\.tar\.gz: \d+ files/ }, run.err)
  const file = join(cluster.dir, 'dump.tar.gz')
  t.equal(statSync(file).mode & 0o777, 0o600)
  const out = join(cluster.dir, 'out')
  mkdirSync(out)
  const tar = spawnSync('tar', ['xzf', file, '-C', out], { encoding: 'utf8' })
  t.equal(tar.status, 0, tar.stderr)
  const files = new Map(
    readdirSync(out, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => {
        const path = join(parentPath, name)
        return [
          path.slice(out.length + 1).replace(/^[^/]+\//, ''),
          readFileSync(path, 'utf8'),
        ]
      }),
  )
  const all = [...files.values()].join('\n')
  for (const secret of planted) t.notOk(all.includes(secret), secret)

  for (const [path, content] of [
    ['pillion.json', /"contract"/],
    ['version.json', /v1\.34/],
    ['objects/l7service.json', /"protocol": "http"/],
    ['objects/pod.json', /"PLANTED"/],
    ['objects/event.json', /"reason": "Failed"[^]*pull failed with password=<removed>/],
    ['pods/node-1/operator-0/operator-debug-status.json', /"version": 9/],
    ['pods/node-1/operator-0/operator-metrics.txt', /pillion_x/],
    ['pods/node-1/operator-0/operator.log', /serving/],
    ['pods/node-1/node-a/agent-debug-config.json', /"x-key"/],
    ['pods/node-1/node-a/agent.log', /plain line with/],
    ['pods/node-1/node-a/proxy.log.error.txt', /404/],
  ] as const)
    t.match(files.get(path), content, path)

  const again = await cluster.pillion('sysdump', '-o', 'dump.tar.gz')
  t.match(again, { code: 1, err: /EEXIST.*name another file/ }, 'nothing is overwritten')
})
