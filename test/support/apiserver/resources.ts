// SPDX-License-Identifier: Apache-2.0
// Which kinds are served: those built in, and those of the CustomResourceDefinitions in the store.
import type { Store } from './store.ts'
import { isJson, type Json, type KubeObject, type Resource } from './types.ts'

interface BuiltIn {
  readonly short?: string
  readonly cluster?: true
  readonly noStatus?: true
  readonly categories?: readonly string[]
}

/** Kind → plural and traits, by group/version. */
const builtIns: Readonly<Record<string, Readonly<Record<string, [string, BuiltIn?]>>>> = {
  '/v1': {
    Namespace: ['namespaces', { short: 'ns', cluster: true }],
    Node: ['nodes', { short: 'no', cluster: true }],
    Pod: ['pods', { short: 'po', categories: ['all'] }],
    Service: ['services', { short: 'svc', categories: ['all'] }],
    ServiceAccount: ['serviceaccounts', { short: 'sa', noStatus: true }],
    Secret: ['secrets', { noStatus: true }],
    ConfigMap: ['configmaps', { short: 'cm', noStatus: true }],
    Event: ['events', { short: 'ev', noStatus: true }],
  },
  'apps/v1': {
    Deployment: ['deployments', { short: 'deploy', categories: ['all'] }],
    DaemonSet: ['daemonsets', { short: 'ds', categories: ['all'] }],
    ReplicaSet: ['replicasets', { short: 'rs', categories: ['all'] }],
    StatefulSet: ['statefulsets', { short: 'sts', categories: ['all'] }],
    ControllerRevision: ['controllerrevisions', { noStatus: true }],
  },
  'policy/v1': { PodDisruptionBudget: ['poddisruptionbudgets', { short: 'pdb' }] },
  'discovery.k8s.io/v1': { EndpointSlice: ['endpointslices', { noStatus: true }] },
  'networking.k8s.io/v1': {
    NetworkPolicy: ['networkpolicies', { short: 'netpol', noStatus: true }],
  },
  'coordination.k8s.io/v1': { Lease: ['leases', { noStatus: true }] },
  'events.k8s.io/v1': { Event: ['events', { short: 'ev', noStatus: true }] },
  'rbac.authorization.k8s.io/v1': {
    Role: ['roles', { noStatus: true }],
    RoleBinding: ['rolebindings', { noStatus: true }],
    ClusterRole: ['clusterroles', { cluster: true, noStatus: true }],
    ClusterRoleBinding: ['clusterrolebindings', { cluster: true, noStatus: true }],
  },
  'apiextensions.k8s.io/v1': {
    CustomResourceDefinition: [
      'customresourcedefinitions',
      { short: 'crd', cluster: true },
    ],
  },
  'scheduling.k8s.io/v1': {
    PriorityClass: ['priorityclasses', { short: 'pc', cluster: true, noStatus: true }],
  },
}

function* builtInResources(): Generator<Resource> {
  for (const [groupVersion, kinds] of Object.entries(builtIns)) {
    const [group = '', version = ''] = groupVersion.split('/')
    for (const [kind, [plural, traits = {}]] of Object.entries(kinds)) {
      yield {
        ...{ group, version, plural, kind, singular: kind.toLowerCase() },
        namespaced: traits.cluster !== true,
        shortNames: traits.short === undefined ? [] : [traits.short],
        categories: traits.categories ?? [],
        hasStatus: traits.noStatus !== true,
      }
    }
  }
}

/** Where definitions are kept. */
export const crdCollection = 'apiextensions.k8s.io/customresourcedefinitions'

/** The condition of an object with this type, if it has one. */
export const conditionOf = (object: KubeObject, type: string): Json | undefined =>
  (object.status?.['conditions'] as Json[] | undefined)?.find(
    (condition) => condition['type'] === type,
  )

/** The versions that a definition serves, as resources. */
export function resourcesOfCrd(crd: KubeObject): Resource[] {
  const { group, scope, names, versions } = crd.spec as {
    group: string
    scope: string
    names: Json
    versions: Json[]
  }
  return versions
    .filter((version) => version['served'] === true)
    .map((version) => ({
      group,
      version: version['name'] as string,
      plural: names['plural'] as string,
      singular: (names['singular'] ?? (names['kind'] as string).toLowerCase()) as string,
      kind: names['kind'] as string,
      namespaced: scope === 'Namespaced',
      shortNames: (names['shortNames'] ?? []) as string[],
      categories: (names['categories'] ?? []) as string[],
      hasStatus:
        isJson(version['subresources']) &&
        version['subresources']['status'] !== undefined,
      crd,
    }))
}

/** The kinds that are served now. */
export class Resources {
  readonly #builtIn = [...builtInResources()]
  #custom: Resource[] = []

  constructor(store: Store) {
    store.subscribe((change) => {
      if (change.collection !== crdCollection) return
      this.#custom = (store.list(crdCollection) ?? [])
        .map(([, crd]) => crd)
        .filter((crd) => conditionOf(crd, 'Established')?.['status'] === 'True')
        .flatMap(resourcesOfCrd)
    })
  }

  all(): Resource[] {
    return [...this.#builtIn, ...this.#custom]
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.all().find(
      (resource) =>
        resource.group === group &&
        resource.version === version &&
        resource.plural === plural,
    )
  }
}
