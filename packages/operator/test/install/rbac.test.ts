// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// The operator under exactly the rules that are shipped: nothing that it asks is refused, and no rule is for nothing.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  startApiServer,
  type Client,
  type KubeObject,
  type RecordedCall,
} from '../../../../test/support/apiserver/index.ts'
import { gatewayCrd } from '../support/cluster.ts'
import { parse } from 'yaml'
import { Daemons, namespace } from './support/daemons.ts'
import {
  collectionPath,
  create,
  defaultManifests,
  installed,
  objectsIn,
  sampleFiles,
  until,
} from './support/installed.ts'

const user = `system:serviceaccount:${namespace}:pillion-operator`

/** Granted, but not seen here, and why it is granted. */
const exceptions: Readonly<Record<string, string>> = {
  'get /pods': 'tokens of an API server before 1.30 do not name their node',
  'get mesh.pillion.dev/meshes': 'after a conflict',
  'get mesh.pillion.dev/l7services': 'after a conflict',
  'get mesh.pillion.dev/accesspolicies': 'after a conflict',
  'get gateway.networking.k8s.io/httproutes': 'after a conflict',
  'get gateway.networking.k8s.io/grpcroutes': 'after a conflict',
  'get gateway.networking.x-k8s.io/xbackendtrafficpolicies':
    'where the experimental kinds are installed',
  'get gateway.networking.x-k8s.io/xmeshes': 'where the experimental kinds are installed',
  'list gateway.networking.x-k8s.io/xbackendtrafficpolicies':
    'where the experimental kinds are installed',
  'list gateway.networking.x-k8s.io/xmeshes':
    'where the experimental kinds are installed',
  'watch gateway.networking.x-k8s.io/xbackendtrafficpolicies':
    'where the experimental kinds are installed',
  'watch gateway.networking.x-k8s.io/xmeshes':
    'where the experimental kinds are installed',
  'patch gateway.networking.x-k8s.io/xbackendtrafficpolicies/status':
    'where the experimental kinds are installed',
  'patch gateway.networking.x-k8s.io/xmeshes/status':
    'where the experimental kinds are installed',
  'update /secrets': 'the CA is renewed after months',
  'get /configmaps': 'the CA is published up to a minute after the election',
  'update /configmaps': 'with the CA',
  'create authentication.k8s.io/tokenreviews':
    'when a node connects: see the tests of publish',
}

interface Rule {
  readonly verbs: readonly string[]
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
}

const granted = (objects: readonly KubeObject[]): Set<string> =>
  new Set(
    objects
      .flatMap((object) => (object['rules'] ?? []) as Rule[])
      .flatMap(({ verbs, apiGroups, resources }) =>
        verbs.flatMap((verb) =>
          apiGroups.flatMap((group) =>
            resources.map((resource) => `${verb} ${group}/${resource}`),
          ),
        ),
      ),
  )

const asked = ({ verb, group, resource, subresource }: RecordedCall): string =>
  `${verb} ${group}/${resource}${subresource ? `/${subresource}` : ''}`

const monitorCrd = parse(
  gatewayCrd('PodMonitor').replaceAll(
    'gateway.networking.k8s.io',
    'monitoring.coreos.com',
  ),
) as KubeObject

/** What the sample's nodeSelector asks for. */
const os = 'kubernetes.io/os'
const linux = { [os]: 'linux' }

/** The Mesh does not select the node any more. */
async function leave(node: string, admin: Client, daemons: Daemons): Promise<void> {
  daemons.labels.set(node, {})
  await admin.merge(`/api/v1/nodes/${node}`, { metadata: { labels: { [os]: null } } })
}

t.test('every call is allowed, every rule is used', async (t) => {
  const server = await startApiServer()
  const admin = server.client()
  const daemons = new Daemons(admin)
  const crds = ['HTTPRoute', 'GRPCRoute'].map(
    (kind) => parse(gatewayCrd(kind)) as KubeObject,
  )
  await create(admin, [...crds, monitorCrd, ...defaultManifests()])
  for (const name of ['a', 'b']) {
    daemons.nodes.add(name)
    daemons.labels.set(name, linux)
    const metadata = { name, labels: linux }
    await create(admin, [{ apiVersion: 'v1', kind: 'Node', metadata }])
  }
  // Not the test's own directory: a socket's path has 107 bytes.
  const dir = mkdtempSync(join(tmpdir(), 'pillion-rbac-'))
  const kubeconfig = join(dir, 'kubeconfig')
  writeFileSync(kubeconfig, server.kubeconfig(user))
  const first = operator(dir, kubeconfig, 'one')
  const second = operator(dir, kubeconfig, 'two')
  t.teardown(async () => {
    await Promise.all([first.stop(), second.stop()])
    await daemons.stop()
    await server.close()
    rmSync(dir, { recursive: true })
  })
  const calls = (): RecordedCall[] => server.calls.filter((call) => call.user === user)
  const seen = (what: string) =>
    until(
      `${what}\n${first.output()}`,
      () => calls().map(asked).includes(what) || undefined,
    )

  const samples = sampleFiles().flatMap(objectsIn)
  const names = new Set(samples.map(({ metadata }) => metadata.namespace ?? ''))
  for (const name of names)
    if (name !== '')
      await create(admin, [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }])
  await create(admin, [...samples, ...routes()])
  // No agent connects here: the first upgrade is of nodes that are not well anyway.
  await until('installed', async () => ((await installed(admin)) ? true : undefined))
  await seen('patch apps/daemonsets')
  await until('pods', async () => (await daemons.pods()).length === 2 || undefined)
  await admin.merge('/apis/mesh.pillion.dev/v1alpha1/meshes/default', {
    spec: { images: { agent: 'pillion-agent:0.2.0' } },
  })
  await seen('delete /pods')
  await leave('b', admin, daemons)
  await seen('create /pods')
  await seen('patch gateway.networking.k8s.io/grpcroutes/status')
  await seen('patch mesh.pillion.dev/l7services/status')
  await seen('create events.k8s.io/events')
  await seen('patch /configmaps')
  await admin.delete('/apis/mesh.pillion.dev/v1alpha1/meshes/default')
  await until(
    'uninstalled',
    async () =>
      (await admin.get('/apis/mesh.pillion.dev/v1alpha1/meshes/default')).code === 404 ||
      undefined,
  )
  // The one that does not lead takes its report away.
  await Promise.all([first.stop(), second.stop()])

  // An apply to the status of an object that has just gone: a real server answers 404, the stand-in asks for "create" first.
  const denied = calls().filter(
    ({ allowed, verb, subresource }) =>
      !allowed && !(verb === 'create' && subresource === 'status'),
  )
  t.strictSame(denied.map(asked), [], 'nothing was refused')
  const used = new Set(calls().map(asked))
  const unused = [...granted(defaultManifests())].filter((rule) => !used.has(rule))
  t.strictSame(
    unused.filter((rule) => !(rule in exceptions)),
    [],
    'every rule is for something',
  )
  const known = granted(defaultManifests())
  const stale = Object.keys(exceptions).filter((rule) => !known.has(rule))
  t.strictSame(stale, [], 'exceptions are of rules that exist')
})

t.test('every manifest is valid to the API server', async (t) => {
  const server = await startApiServer()
  t.teardown(() => server.close())
  const admin = server.client()
  const objects = defaultManifests()
  t.ok(objects.length > 8)
  await create(admin, objects)
  for (const object of objects) {
    const { code } = await admin.get(`${collectionPath(object)}/${object.metadata.name}`)
    t.equal(code, 200, `${object.kind} ${object.metadata.name}`)
  }
})

function routes(): KubeObject[] {
  const parentRefs = [{ group: '', kind: 'Service', name: 'web', port: 80 }]
  const metadata = { name: 'r', namespace: 'default' }
  const apiVersion = 'gateway.networking.k8s.io/v1'
  const rules: object[] = [{ backendRefs: [{ name: 'nobody', port: 80 }] }]
  return [
    {
      ...{ apiVersion: 'v1', kind: 'Service' },
      metadata: { name: 'web', namespace: 'default' },
      spec: { ports: [{ port: 80 }] },
    },
    { apiVersion, kind: 'HTTPRoute', metadata, spec: { parentRefs, rules } },
    { apiVersion, kind: 'GRPCRoute', metadata, spec: { parentRefs, rules } },
  ]
}

/** A replica with the Deployment's own options, where a test may keep them. */
function operator(dir: string, kubeconfig: string, name: string) {
  const main = join(import.meta.dirname, '../../src/main.ts')
  const child = spawn(process.execPath, [
    ...[main, '--source=kubernetes', `--kubeconfig=${kubeconfig}`],
    ...[`--pod-name=${name}`, '--listen=0.0.0.0:0', '--status-delay=5'],
    ...[`--admin-socket=${join(dir, name)}.sock`, '--log-level=warn'],
    ...['--agent-image=pillion-agent:0.1.0', '--proxy-image=pillion-proxy:0.1.0'],
    ...['--lease-retry=100', '--lease-renew-deadline=1000', '--lease-duration=2000'],
  ])
  let output = ''
  child.stdout.on('data', (text) => (output += String(text)))
  child.stderr.on('data', (text) => (output += String(text)))
  const exit = new Promise((resolve) => child.once('exit', resolve))
  return {
    output: () => output,
    stop: async () => {
      child.kill('SIGTERM')
      await exit
    },
  }
}
