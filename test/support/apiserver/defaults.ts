// SPDX-License-Identifier: Apache-2.0
// The defaults of built-in kinds that a client can observe and might rely on. Not all: those of pod templates, for
// example, are left out, because nothing in the mesh reads them.
import { isJson, type Json, type KubeObject, type Resource } from './types.ts'

const servicePorts = (spec: Json): Json[] =>
  ((spec['ports'] ?? []) as Json[]).map((port) => ({
    ...port,
    protocol: port['protocol'] ?? 'TCP',
    targetPort: port['targetPort'] ?? port['port'],
  }))

function service(object: KubeObject, allocate: () => string): KubeObject {
  const spec = object.spec ?? {}
  const type = spec['type'] ?? 'ClusterIP'
  if (type === 'ExternalName') return object
  const clusterIP =
    spec['clusterIP'] === undefined || spec['clusterIP'] === ''
      ? allocate()
      : spec['clusterIP']
  const addresses = {
    ...{ clusterIP, clusterIPs: spec['clusterIPs'] ?? [clusterIP] },
    ipFamilies: spec['ipFamilies'] ?? ['IPv4'],
    ipFamilyPolicy: spec['ipFamilyPolicy'] ?? 'SingleStack',
  }
  return {
    ...object,
    spec: {
      ...spec,
      ...{ type, ...addresses, sessionAffinity: spec['sessionAffinity'] ?? 'None' },
      internalTrafficPolicy: spec['internalTrafficPolicy'] ?? 'Cluster',
      ...(spec['ports'] === undefined ? {} : { ports: servicePorts(spec) }),
    },
    status: object.status ?? { loadBalancer: {} },
  }
}

function namespace(object: KubeObject): KubeObject {
  const labels = {
    ...object.metadata.labels,
    'kubernetes.io/metadata.name': object.metadata.name,
  }
  return {
    ...{ ...object, metadata: { ...object.metadata, labels } },
    spec: { ...object.spec, finalizers: object.spec?.['finalizers'] ?? ['kubernetes'] },
    status: { phase: 'Active', ...object.status },
  }
}

function pod(object: KubeObject): KubeObject {
  const defaults = {
    ...{ restartPolicy: 'Always', dnsPolicy: 'ClusterFirst' },
    ...{ terminationGracePeriodSeconds: 30, serviceAccountName: 'default' },
  }
  return {
    ...{ ...object, spec: { ...defaults, ...object.spec } },
    status: { phase: 'Pending', qosClass: 'BestEffort', ...object.status },
  }
}

function networkPolicy(object: KubeObject): KubeObject {
  const spec = object.spec ?? {}
  const types = spec['egress'] === undefined ? ['Ingress'] : ['Ingress', 'Egress']
  const ports = (rule: Json): Json =>
    rule['ports'] === undefined
      ? rule
      : {
          ...rule,
          ports: (rule['ports'] as Json[]).map((port) => ({ protocol: 'TCP', ...port })),
        }
  const rules = (name: 'ingress' | 'egress'): Json =>
    spec[name] === undefined ? {} : { [name]: (spec[name] as Json[]).map(ports) }
  return {
    ...object,
    spec: { policyTypes: types, ...spec, ...rules('ingress'), ...rules('egress') },
  }
}

function crd(object: KubeObject): KubeObject {
  const spec = object.spec ?? {}
  const names = (spec['names'] ?? {}) as Json
  const kind = String(names['kind'])
  const finalizer = 'customresourcecleanup.apiextensions.k8s.io'
  const finalizers = object.metadata.finalizers ?? []
  const terminating = object.metadata.deletionTimestamp !== undefined
  return {
    ...object,
    metadata: {
      ...object.metadata,
      ...(terminating ? {} : { finalizers: [...new Set([...finalizers, finalizer])] }),
    },
    spec: {
      conversion: { strategy: 'None' },
      ...spec,
      names: { listKind: `${kind}List`, singular: kind.toLowerCase(), ...names },
    },
  }
}

/** A built-in object with its defaults. `allocate` gives a free cluster address. */
export function withDefaults(
  resource: Resource,
  object: KubeObject,
  allocate: () => string,
): KubeObject {
  switch (`${resource.group}/${resource.plural}`) {
    case '/services':
      return service(object, allocate)
    case '/namespaces':
      return namespace(object)
    case '/pods':
      return pod(object)
    case 'networking.k8s.io/networkpolicies':
      return networkPolicy(object)
    case 'apiextensions.k8s.io/customresourcedefinitions':
      return crd(object)
    case '/secrets':
      return secret(object)
    default:
      return object
  }
}

function secret(object: KubeObject): KubeObject {
  const { stringData, ...rest } = object
  const data = isJson(object['data']) ? object['data'] : {}
  const added = Object.entries(isJson(stringData) ? stringData : {}).map(
    ([key, text]) => [key, Buffer.from(String(text)).toString('base64')] as const,
  )
  const all = { ...data, ...Object.fromEntries(added) }
  return {
    ...rest,
    type: object['type'] ?? 'Opaque',
    ...(Object.keys(all).length === 0 ? {} : { data: all }),
  } as KubeObject
}

const withGeneration = new Set([
  ...['apps/deployments', 'apps/daemonsets', 'apps/replicasets', 'apps/statefulsets'],
  ...['networking.k8s.io/networkpolicies', 'discovery.k8s.io/endpointslices', '/pods'],
  ...['apiextensions.k8s.io/customresourcedefinitions', 'policy/poddisruptionbudgets'],
])

/** Whether objects of this kind count their generation. */
export const hasGeneration = (resource: Resource): boolean =>
  resource.crd !== undefined || withGeneration.has(`${resource.group}/${resource.plural}`)

/** Whether an update must name the revision that it is based on. */
export const needsRevision = (resource: Resource): boolean => resource.crd !== undefined
