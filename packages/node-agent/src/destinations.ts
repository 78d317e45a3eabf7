// SPDX-License-Identifier: Apache-2.0
// PURE. Services as people and pods ask for them, and the endpoints that this node uses then: as the kernel's tables have it.
import {
  formatAddress,
  isMappedIPv4,
  localityOf,
  placeOf,
  Protocol,
  selectEndpoints,
  type Endpoint,
  type Resources,
  type ServicePort,
  type Vantage,
} from '@pillion/contract'
import { serviceNameOf } from '@pillion/ebpf-l4'
import { AgentError } from './errors.ts'
import { tryParse } from './peers.ts'

/** A service that was asked for. */
export interface Asked {
  readonly service: ServicePort
  /** By "namespace/service" and by a cluster address is the same; the others are not bound by internalTrafficPolicy. */
  readonly by: 'cluster' | 'external' | 'node-port'
  /** Only endpoints of its family; undefined: of every family that the service has. */
  readonly address: Buffer | undefined
}

/** What `host` and `port` mean; undefined: no service. Throws AgentError QUESTION when it is not clear which one. */
export function findService(
  resources: Resources,
  host: string,
  port: number | undefined,
): Asked | undefined {
  const address = tryParse(host)
  const services = [...resources.servicePort.values()]
  if (address === undefined) {
    const named = services.filter((s) => `${s.namespace}/${s.service}` === host)
    return asked(pick(named, host, port, 'port'), 'cluster', undefined)
  }
  const at = (addresses: readonly Buffer[]): boolean =>
    addresses.some((own) => own.equals(address))
  const cluster = services.filter(({ addresses }) => at(addresses))
  if (cluster.length > 0)
    return asked(pick(cluster, host, port, 'port'), 'cluster', address)
  // Of these the kernel takes only the ports of the service: the others are somebody else's.
  const external = services.filter((s) => at(s.externalAddresses) && s.port === port)
  if (external.length > 0)
    return asked(pick(external, host, port, 'port'), 'external', address)
  if (!isNodeAddress(resources, address)) return undefined
  const nodePorts = services.filter(({ nodePort }) => nodePort !== 0 && nodePort === port)
  return asked(pick(nodePorts, host, port, 'nodePort'), 'node-port', address)
}

/** A node's own address, any node's: node ports are at all of them. */
export function isNodeAddress({ address }: Resources, bytes: Uint8Array): boolean {
  return address.get(`${formatAddress(bytes)}/128`)?.nodeAddress === true
}

function asked(
  service: ServicePort | undefined,
  by: Asked['by'],
  address: Buffer | undefined,
): Asked | undefined {
  return service && { service, by, address }
}

/** The one with this port; any port will do when there is only one. */
function pick(
  ports: readonly ServicePort[],
  host: string,
  port: number | undefined,
  field: 'port' | 'nodePort',
): ServicePort | undefined {
  if (ports.length === 0) return undefined
  const matching = ports.filter((each) => port === undefined || each[field] === port)
  if (new Set(matching.map((each) => each[field])).size === 1) {
    // A port may exist in TCP and in UDP.
    return matching.find(({ protocol }) => protocol === Protocol.TCP) ?? matching[0]
  }
  const known = [...new Set(ports.map((each) => each[field]))].join(', ')
  throw new AgentError(
    'QUESTION',
    port === undefined
      ? `${host} has several ports, say which: ${known}`
      : `${host} has no port ${port}, only ${known}`,
  )
}

export interface Choice {
  readonly candidates: readonly Endpoint[]
  /** Endpoints of the families, in use or not. */
  readonly total: number
  /** Why these; undefined: all that are ready. */
  readonly locality: string | undefined
}

/** The endpoints that connections from `node` lead to. */
export function chooseEndpoints(
  resources: Resources,
  node: string,
  { service, by, address }: Asked,
): Choice {
  const own = [...resources.endpoint]
    .filter(([name]) => resources.servicePort.get(serviceNameOf(name)) === service)
    .map(([, endpoint]) => endpoint)
  const isHeadless = service.addresses.length === 0
  // Names of a headless service lead to every ready pod: nobody chooses.
  const place = isHeadless ? { node: '', zone: '' } : placeOf(resources, node)
  const localOnly = service.localOnly && by === 'cluster' && !isHeadless
  const from = { ...place, localOnly }
  const asksFor = address === undefined ? service.addresses : [address]
  const families = isHeadless ? [true, false] : [...new Set(asksFor.map(isMappedIPv4))]
  const byFamily = families.map((isIPv4) =>
    own.filter((endpoint) => isMappedIPv4(endpoint.address) === isIPv4),
  )
  const localities = byFamily.map((endpoints) => localityText(endpoints, from))
  return {
    candidates: byFamily.flatMap((endpoints) => selectEndpoints(endpoints, from)),
    total: byFamily.flat().length,
    locality: [...new Set(localities)].filter(Boolean).join('; ') || undefined,
  }
}

function localityText(endpoints: readonly Endpoint[], from: Vantage): string {
  switch (localityOf(endpoints, from)) {
    case 'local-only':
      return `internalTrafficPolicy Local: only endpoints of ${from.node}`
    case 'node':
      return `hinted for ${from.node}`
    case 'zone':
      return `hinted for zone ${from.zone}`
    case 'all':
      return ''
  }
}
