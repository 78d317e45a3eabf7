// SPDX-License-Identifier: Apache-2.0
// pillion check: can the mesh be installed in this cluster, and what will not work there.
import type { Cluster } from '@pillion/operator'
import type { Command } from 'commander'
import {
  checkGateway,
  checkNode,
  checkOwnDefinitions,
  checkPermissions,
  checkVersion,
  type Definition,
  type NodeFacts,
  type Permission,
  type WantedDefinition,
} from '../check.ts'
import {
  clusterOptions,
  defaultNamespace,
  withCluster,
  type ClusterFlags,
} from '../cluster/connect.ts'
import { collection, listPath, Objects, type Manifest } from '../cluster/objects.ts'
import { exitCode } from '../errors.ts'
import { loadManifests } from '../install/kustomize.ts'
import { meshObject } from '../install/rollout.ts'
import { formatOption, print, printJson, type Format } from '../output.ts'
import { checkNodeCommand } from './check-node.ts'
import { findingsTable } from './findings.ts'
import { examples, manifestsOption } from './options.ts'

interface Flags extends ClusterFlags {
  readonly manifests: string
  readonly output: Format
}

export function checkCommand(program: Command): void {
  const command = clusterOptions(program.command('check'))
    .addOption(manifestsOption('what would be installed'))
    .description('whether a cluster is fit for the mesh, and what each ✗ costs')
    .action((flags: Flags) => withCluster(flags, (cluster) => check(cluster, flags)))
  formatOption(command)
  checkNodeCommand(command)
  examples(command, 'pillion check --context staging')
}

async function check(cluster: Cluster, { manifests, output }: Flags): Promise<void> {
  const objects = loadManifests(manifests)
  const version = await cluster.client.request<{ major: string; minor: string }>({
    path: '/version',
  })
  const definitions = await present(cluster)
  const findings = [
    checkVersion(version),
    ...checkOwnDefinitions(wantedDefinitions(objects), definitions),
    ...checkGateway(definitions),
    ...checkPermissions(await permissions(cluster, objects)),
    ...(await nodes(cluster)).map(checkNode),
  ]
  const fit = findings.every(({ ok, optional }) => ok || optional === true)
  if (!fit) process.exitCode = exitCode.failed
  if (output === 'json') {
    printJson({ context: cluster.context, fit, findings })
    return
  }
  print(findingsTable(findings))
  const verdict = fit
    ? 'the mesh can be installed'
    : 'see what each ✗ costs before you install'
  print(`\ncontext ${cluster.context}: ${verdict}`)
}

const crds = 'customresourcedefinitions'

async function present(cluster: Cluster): Promise<Definition[]> {
  const found = await listPath(cluster, collection('apiextensions.k8s.io/v1', crds))
  return found.map(definitionOf)
}

function definitionOf({
  metadata,
  spec,
}: Pick<Manifest, 'metadata' | 'spec'>): Definition {
  const { versions, scope } = spec as unknown as {
    versions: { name: string; served: boolean }[]
    scope: string
  }
  const served = versions.filter((each) => each.served).map(({ name }) => name)
  return { name: metadata.name, versions: served, scope }
}

function wantedDefinitions(objects: readonly Manifest[]): WantedDefinition[] {
  return objects
    .filter(({ kind }) => kind === 'CustomResourceDefinition')
    .map(definitionOf)
    .map(({ name, versions, scope }) => ({ name, version: versions[0] ?? '', scope }))
}

/** Asks the API server for every kind that is installed, and for what `uninstall` and `sysdump` do. */
async function permissions(
  cluster: Cluster,
  manifests: readonly Manifest[],
): Promise<Permission[]> {
  const objects = new Objects(cluster)
  const wanted = new Map<string, Omit<Permission, 'allowed'>>()
  const want = (attributes: Omit<Permission, 'allowed'>): void => {
    wanted.set(Object.values(attributes).join(' '), attributes)
  }
  for (const { apiVersion, kind, metadata } of [...manifests, meshObject]) {
    const group = apiVersion.includes('/') ? apiVersion.replace(/\/.*$/, '') : ''
    const known = await objects.kindOf(apiVersion, kind)
    // A kind that comes with its definition: the name of the definition says the plural.
    const resource =
      known?.plural ?? (kind === 'Mesh' ? 'meshes' : `${kind.toLowerCase()}s`)
    const namespace = metadata.namespace
    for (const verb of ['get', 'create', 'patch', 'delete'])
      want({ verb, group, resource, ...(namespace === undefined ? {} : { namespace }) })
  }
  const operator = manifests.find(({ kind }) => kind === 'Deployment')
  const namespace = operator?.metadata.namespace ?? defaultNamespace
  const pods = { group: '', resource: 'pods', namespace }
  // Admin endpoints are asked by exec; logs and pods of its own are what sysdump and uninstall --verify need.
  want({ verb: 'create', ...pods, subresource: 'exec' })
  want({ verb: 'get', ...pods, subresource: 'log' })
  for (const verb of ['list', 'create', 'delete']) want({ verb, ...pods })
  const asked = [...wanted.values()].map(async (attributes) => ({
    ...attributes,
    allowed: await isAllowed(cluster, attributes),
  }))
  return Promise.all(asked)
}

async function isAllowed(
  cluster: Cluster,
  resourceAttributes: Omit<Permission, 'allowed'>,
): Promise<boolean> {
  const apiVersion = 'authorization.k8s.io/v1'
  const { status } = await cluster.client.request<{ status: { allowed: boolean } }>({
    method: 'POST',
    path: collection(apiVersion, 'selfsubjectaccessreviews'),
    body: { apiVersion, kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } },
  })
  return status.allowed
}

async function nodes(cluster: Cluster): Promise<NodeFacts[]> {
  const found = await listPath(cluster, collection('v1', 'nodes'))
  return found.map(({ metadata, status }) => {
    const info = (status?.['nodeInfo'] ?? {}) as Partial<Record<string, string>>
    return {
      name: metadata.name,
      kernel: info['kernelVersion'] ?? 'unknown',
      architecture: info['architecture'] ?? 'unknown',
      os: info['operatingSystem'] ?? 'unknown',
      runtime: info['containerRuntimeVersion'] ?? 'unknown',
    }
  })
}
