// SPDX-License-Identifier: Apache-2.0
// How field ownership cuts lists and maps: `x-kubernetes-list-type`, `-list-map-keys` and `-map-type` of each field. For
// custom resources their schema says so; for built-in kinds this table repeats what their OpenAPI document says.
import { isJson, type Json, type Resource } from './types.ts'

/** How the value of a field is owned: as one, item by item as a set, or item by item by key. */
export type Topology =
  | 'atomic'
  | 'granular'
  | 'set'
  | { readonly keys: readonly string[]; readonly defaults: Json }

/** Topology of the field with these names (list items have none of their own). */
export type TopologyOf = (names: readonly string[]) => Topology

const map = (keys: string, defaults: Json = {}): Topology => ({
  keys: keys.split(','),
  defaults,
})

const metaFields: Readonly<Record<string, Topology>> = {
  'metadata.ownerReferences': map('uid'),
  'metadata.finalizers': 'set',
}

const podSpecFields: Readonly<Record<string, Topology>> = {
  volumes: map('name'),
  imagePullSecrets: map('name'),
  hostAliases: map('ip'),
  topologySpreadConstraints: map('topologyKey,whenUnsatisfiable'),
  nodeSelector: 'atomic',
}
const containerFields: Readonly<Record<string, Topology>> = {
  '': map('name'),
  '.ports': map('containerPort,protocol', { protocol: 'TCP' }),
  '.env': map('name'),
  '.volumeMounts': map('mountPath'),
  '.volumeDevices': map('devicePath'),
}

const podSpec = (prefix: string): Record<string, Topology> => {
  const fields: Record<string, Topology> = {}
  for (const [name, topology] of Object.entries(podSpecFields))
    fields[`${prefix}.${name}`] = topology
  for (const list of ['containers', 'initContainers', 'ephemeralContainers'])
    for (const [name, topology] of Object.entries(containerFields))
      fields[`${prefix}.${list}${name}`] = topology
  return fields
}

const conditions = { 'status.conditions': map('type') }
const workload = {
  ...podSpec('spec.template.spec'),
  ...conditions,
  'spec.selector': 'atomic' as const,
}

const builtIn: Readonly<Record<string, Readonly<Record<string, Topology>>>> = {
  '/pods': { ...podSpec('spec'), ...conditions, 'status.podIPs': map('ip') },
  '/services': {
    ...conditions,
    'spec.ports': map('port,protocol', { protocol: 'TCP' }),
    'spec.selector': 'atomic',
  },
  '/nodes': { ...conditions, 'status.addresses': map('type'), 'spec.podCIDRs': 'set' },
  '/namespaces': conditions,
  '/serviceaccounts': { secrets: map('name') },
  '/events': { involvedObject: 'atomic' },
  'apps/deployments': workload,
  'apps/daemonsets': workload,
  'apps/replicasets': workload,
  'apps/statefulsets': workload,
  'networking.k8s.io/networkpolicies': { 'spec.podSelector': 'atomic' },
  'apiextensions.k8s.io/customresourcedefinitions': conditions,
  'policy/poddisruptionbudgets': { ...conditions, 'spec.selector': 'atomic' },
}

/** The schema of the version of a custom resource. */
export function schemaOf(resource: Resource): Json | undefined {
  const versions = (resource.crd?.spec?.['versions'] ?? []) as Json[]
  const version = versions.find(({ name }) => name === resource.version)
  return (version?.['schema'] as Json | undefined)?.['openAPIV3Schema'] as
    Json | undefined
}

function schemaAt(schema: Json | undefined, names: readonly string[]): Json | undefined {
  let at = schema
  for (const name of names) {
    if (isJson(at?.['items'])) at = at['items']
    const properties = at?.['properties'] as Record<string, Json> | undefined
    const additional = at?.['additionalProperties']
    at = properties?.[name] ?? (isJson(additional) ? additional : undefined)
  }
  return at
}

function topologyOfSchema(schema: Json | undefined): Topology {
  if (schema?.['x-kubernetes-map-type'] === 'atomic') return 'atomic'
  if (schema?.['type'] !== 'array')
    return schema?.['x-kubernetes-list-type'] === undefined ? 'granular' : 'atomic'
  const type = schema['x-kubernetes-list-type']
  if (type === 'set') return 'set'
  if (type !== 'map') return 'atomic'
  const keys = schema['x-kubernetes-list-map-keys'] as string[]
  const items = (schema['items'] as Json)['properties'] as Record<string, Json>
  const defaults = keys
    .filter((key) => items[key]?.['default'] !== undefined)
    .map((key) => [key, items[key]?.['default']])
  return { keys, defaults: Object.fromEntries(defaults) as Json }
}

/** The topology of every field of a kind. Where nothing is said, maps are granular and lists are atomic. */
export function topologyOf(resource: Resource): TopologyOf {
  const table = builtIn[`${resource.group}/${resource.plural}`] ?? {}
  const schema = resource.crd === undefined ? undefined : schemaOf(resource)
  return (names) => {
    const path = names.join('.')
    return (
      metaFields[path] ??
      table[path] ??
      (schema === undefined || names[0] === 'metadata'
        ? 'granular'
        : topologyOfSchema(schemaAt(schema, names)))
    )
  }
}
