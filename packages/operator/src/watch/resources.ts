// SPDX-License-Identifier: Apache-2.0
// What is watched, as a table.
import type { ApiKind } from '../api/object.ts'

export interface Resource {
  readonly kind: string
  readonly group: string
  readonly version: string
  readonly plural: string
  /** Comes with a CRD that may be absent. */
  readonly optional: boolean
  readonly fieldSelector?: string
  readonly labelSelector?: string
  /** Only this namespace; absent: all. */
  readonly namespace?: string
  /** `Accept` of lists and watches where whole objects are not needed. */
  readonly metadataOnly?: boolean
}

export interface CompiledResource extends Resource {
  readonly kind: ApiKind
}

const mesh = { group: 'mesh.pillion.dev', version: 'v1alpha1', optional: true } as const
const gateway = {
  group: 'gateway.networking.k8s.io',
  version: 'v1',
  optional: true,
} as const
const experimental = {
  group: 'gateway.networking.x-k8s.io',
  version: 'v1alpha1',
  optional: true,
} as const
const core = { group: '', version: 'v1', optional: false } as const

/** Kinds that are compiled. */
export const compiledResources: readonly CompiledResource[] = [
  { ...core, kind: 'Namespace', plural: 'namespaces' },
  { ...core, kind: 'ServiceAccount', plural: 'serviceaccounts' },
  { ...core, kind: 'Node', plural: 'nodes' },
  {
    ...core,
    kind: 'Pod',
    plural: 'pods',
    // Jobs leave thousands of pods behind that have no address any more.
    fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed',
  },
  { ...core, kind: 'Service', plural: 'services' },
  {
    group: 'discovery.k8s.io',
    version: 'v1',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    optional: false,
  },
  {
    group: 'networking.k8s.io',
    version: 'v1',
    kind: 'NetworkPolicy',
    plural: 'networkpolicies',
    optional: false,
  },
  { ...mesh, kind: 'Mesh', plural: 'meshes' },
  { ...mesh, kind: 'L7Service', plural: 'l7services' },
  { ...mesh, kind: 'AccessPolicy', plural: 'accesspolicies' },
  { ...gateway, kind: 'HTTPRoute', plural: 'httproutes' },
  { ...gateway, kind: 'GRPCRoute', plural: 'grpcroutes' },
  {
    ...experimental,
    kind: 'XBackendTrafficPolicy',
    plural: 'xbackendtrafficpolicies',
  },
  { ...experimental, kind: 'XMesh', plural: 'xmeshes' },
]

/** Which CRDs there are; names are enough. */
export const crdResource: Resource = {
  kind: 'CustomResourceDefinition',
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  optional: false,
  metadataOnly: true,
}

/** Kinds whose status subresource is ours to write, wholly or in part. */
export const statusKinds: ReadonlySet<string> = new Set([
  'Mesh',
  'L7Service',
  'AccessPolicy',
  'HTTPRoute',
  'GRPCRoute',
  'XBackendTrafficPolicy',
  'XMesh',
])

export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`
}

/** "httproutes.gateway.networking.k8s.io": the name of the kind's CRD. */
export function crdName({ plural, group }: Resource): string {
  return `${plural}.${group}`
}

/** Path of the collection in all namespaces, or of one object. */
export function pathOf(
  resource: Resource,
  object?: { readonly namespace: string; readonly name: string },
  subresource = '',
): string {
  const { group, version, plural } = resource
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`
  const namespace = object?.namespace ?? resource.namespace ?? ''
  const scope = namespace === '' ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  if (object === undefined) return `${root}${scope}/${plural}`
  const name = encodeURIComponent(object.name)
  return `${root}${scope}/${plural}/${name}${subresource === '' ? '' : `/${subresource}`}`
}
