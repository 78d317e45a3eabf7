// SPDX-License-Identifier: Apache-2.0
// EndpointSlices of a Service from the pods that it selects. Pure.
import type { KubeObject, PodObject, ServiceObject, ServicePort } from '../types.ts'

/** What decides about a pod's endpoints. */
export interface PodView {
  readonly pod: PodObject
  readonly node: string
  /** IPv4 first. */
  readonly addresses: readonly [string, string]
  readonly ready: boolean
  readonly terminating: boolean
  /** Of its node; undefined: not known. */
  readonly zone?: string
}

interface Port {
  name: string
  port: number
  protocol: string
}

/** One slice per address family and set of resolved ports. A Service without selector has none of ours. */
export function endpointSlices(
  service: ServiceObject,
  pods: readonly PodView[],
): KubeObject[] {
  const { selector } = service.spec
  if (selector === undefined || Object.keys(selector).length === 0) return []
  const selected = pods.filter(
    ({ pod }) =>
      pod.metadata.namespace === service.metadata.namespace &&
      Object.entries(selector).every(
        ([key, value]) => pod.metadata.labels?.[key] === value,
      ),
  )
  const groups = new Map<string, { ports: Port[]; pods: PodView[] }>()
  for (const view of selected) {
    const ports = (service.spec.ports ?? []).flatMap((port) =>
      resolvePort(port, view.pod),
    )
    const key = JSON.stringify(ports)
    const group = groups.get(key) ?? { ports, pods: [] }
    group.pods.push(view)
    groups.set(key, group)
  }
  return [...groups.values()].flatMap(({ ports, pods }, index) =>
    (['IPv4', 'IPv6'] as const).map((family) =>
      slice(service, family, index, ports, pods),
    ),
  )
}

/** The port on this pod; none when it names a container port that the pod does not have. */
function resolvePort(port: ServicePort, pod: PodObject): Port[] {
  const target = port.targetPort ?? port.port
  const protocol = port.protocol ?? 'TCP'
  const number =
    typeof target === 'number'
      ? target
      : pod.spec.containers
          .flatMap((container) => container.ports ?? [])
          .find(
            ({ name, protocol: other }) =>
              name === target && (other ?? 'TCP') === protocol,
          )?.containerPort
  return number === undefined ? [] : [{ name: port.name ?? '', port: number, protocol }]
}

function slice(
  service: ServiceObject,
  family: 'IPv4' | 'IPv6',
  index: number,
  ports: Port[],
  pods: readonly PodView[],
): KubeObject {
  const { name, namespace = 'default', uid = '' } = service.metadata
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${family.toLowerCase()}${index === 0 ? '' : `-${index}`}`,
      namespace,
      labels: {
        'kubernetes.io/service-name': name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      ownerReferences: [
        { apiVersion: 'v1', kind: 'Service', name, uid, controller: true },
      ],
    },
    addressType: family,
    ports,
    endpoints: pods.map((view) => endpoint(service, view, family === 'IPv4' ? 0 : 1)),
  }
}

function endpoint(service: ServiceObject, view: PodView, family: 0 | 1) {
  const { pod, terminating, zone } = view
  const always = service.spec.publishNotReadyAddresses === true
  const { name, namespace = 'default', uid = '' } = pod.metadata
  const { hostname, subdomain } = pod.spec
  const hasName = hostname !== undefined && subdomain === service.metadata.name
  // KEP-1672: ready means serving and not terminating.
  const ready = always || (view.ready && !terminating)
  const hints = ready ? hintsOf(service, view) : undefined
  return {
    addresses: [view.addresses[family]],
    conditions: { ready, serving: view.ready, terminating },
    targetRef: { kind: 'Pod', name, namespace, uid },
    nodeName: view.node,
    ...(hasName && { hostname }),
    ...(zone !== undefined && { zone }),
    ...(hints !== undefined && { hints }),
  }
}

/** Who should prefer the endpoint: its own zone (KEP-4444), and its own node first (KEP-3015). */
function hintsOf({ spec }: ServiceObject, { node, zone }: PodView): object | undefined {
  const forZones = zone === undefined ? {} : { forZones: [{ name: zone }] }
  switch (spec.trafficDistribution) {
    case 'PreferClose':
    case 'PreferSameZone':
      return zone === undefined ? undefined : forZones
    case 'PreferSameNode':
      return { ...forZones, forNodes: [{ name: node }] }
    default:
      return undefined
  }
}
