// SPDX-License-Identifier: Apache-2.0
// Numbers and addresses -> names. A value of one configuration: what was seen under it keeps its names when pods are gone.
import {
  formatAddress,
  reservedName,
  type Endpoint,
  type Identity,
  type Resources,
  type ServicePort,
  type Workload,
} from '@pillion/contract'
import { isNodeAddress } from './destinations.ts'

/** Who is at one end of a connection, as far as known; empty text: unknown. */
export interface Peer {
  readonly identity: number
  readonly namespace: string
  readonly pod: string
  readonly workload: string
  readonly serviceAccount: string
  readonly app: string
  readonly version: string
  /** The address is a node's own. */
  readonly isNode: boolean
}

const cachedPeers = 10_000

/** An index of a resource map, made when first asked for and kept as long as the map is. */
function indexed<V, I>(build: (map: ReadonlyMap<string, V>) => I) {
  const cache = new WeakMap<ReadonlyMap<string, V>, I>()
  return (map: ReadonlyMap<string, V>): I => {
    let index = cache.get(map)
    if (index === undefined) cache.set(map, (index = build(map)))
    return index
  }
}

/** Address bytes as a key. */
export function addressKey(address: Uint8Array): string {
  return Buffer.from(address.buffer, address.byteOffset, address.length).toString(
    'latin1',
  )
}

const podsByAddress = indexed((workloads: ReadonlyMap<string, Workload>) => {
  const index = new Map<string, Workload>()
  for (const workload of workloads.values()) {
    // The addresses of a pod in the node's network are the node's.
    if (workload.hostNetwork) continue
    for (const address of workload.addresses) index.set(addressKey(address), workload)
  }
  return index
})

const podsByIdentity = indexed((workloads: ReadonlyMap<string, Workload>) =>
  Map.groupBy(workloads.values(), ({ identity }) => identity),
)

const endpointsByIdentity = indexed((endpoints: ReadonlyMap<string, Endpoint>) =>
  Map.groupBy(endpoints.values(), ({ identity }) => identity),
)

const servicesByNumber = indexed(
  (services: ReadonlyMap<string, ServicePort>) =>
    new Map([...services.values()].map((service) => [service.id, service])),
)

const endpointsByAddress = indexed(
  (endpoints: ReadonlyMap<string, Endpoint>) =>
    new Map([...endpoints.values()].map((e) => [addressKey(e.address), e])),
)

const servicesByAddress = indexed((services: ReadonlyMap<string, ServicePort>) => {
  const index = new Map<string, ServicePort>()
  for (const service of services.values()) {
    for (const address of [...service.addresses, ...service.externalAddresses]) {
      index.set(`${addressKey(address)}${service.port}/${service.protocol}`, service)
    }
  }
  return index
})

const servicesByNodePort = indexed(
  (services: ReadonlyMap<string, ServicePort>) =>
    new Map([...services.values()].map((s) => [`${s.nodePort}/${s.protocol}`, s])),
)

export class Names {
  readonly resources: Resources
  readonly #peers = new Map<string, Peer>()

  constructor(resources: Resources) {
    this.resources = resources
  }

  /** Who has this address and identity. Zero bytes as address: not known, only the identity is. */
  peer(address: Uint8Array, identity: number): Peer {
    const key = `${identity} ${addressKey(address)}`
    let peer = this.#peers.get(key)
    if (peer === undefined) {
      if (this.#peers.size >= cachedPeers) this.#peers.clear()
      this.#peers.set(key, (peer = this.#find(address, identity)))
    }
    return peer
  }

  #find(address: Uint8Array, identity: number): Peer {
    const { workload, endpoint } = this.resources
    const key = addressKey(address)
    const pod = podsByAddress(workload).get(key)
    if (pod !== undefined) return fromWorkload(pod, identity)
    const served = endpointsByAddress(endpoint).get(key)
    if (served !== undefined) return { ...served, identity, isNode: false }
    const owner = this.resources.address.get(`${formatAddress(address)}/128`)
    const peer = this.#byIdentity(identity)
    if (owner === undefined) return address.some(Boolean) ? peer : this.#local(peer)
    if (owner.nodeAddress) return { ...peer, isNode: true }
    return { ...peer, pod: owner.owner.split('/')[1] ?? '' }
  }

  /** Whoever has this identity, as far as all who have it are the same: sums are kept by identity, not by address. */
  group(identity: number): Peer {
    const peer = this.#local(this.#byIdentity(identity))
    const served = endpointsByIdentity(this.resources.endpoint).get(identity)
    const [first] = served ?? []
    if (peer.workload !== '' || first === undefined) return { ...peer, pod: '' }
    const same = served?.every(({ workload }) => workload === first.workload)
    return same ? { ...first, identity, pod: '', isNode: false } : peer
  }

  /** A ServicePort by its number. */
  serviceOf(id: number): ServicePort | undefined {
    return servicesByNumber(this.resources.servicePort).get(id)
  }

  /** A denied connect has no source address yet; its identity may still belong to one pod, or one workload. */
  #local(peer: Peer): Peer {
    const [first, ...others] =
      podsByIdentity(this.resources.workload).get(peer.identity) ?? []
    if (first === undefined) return peer
    const known = fromWorkload(first, peer.identity)
    if (others.length === 0) return known
    const same = others.every(({ workload }) => workload === first.workload)
    return same ? { ...known, pod: '' } : peer
  }

  #byIdentity(identity: number): Peer {
    const found = this.resources.identity.get(String(identity))
    return {
      identity,
      namespace: found?.namespace ?? '',
      pod: '',
      workload: '',
      serviceAccount: found?.serviceAccount ?? '',
      app: label(found, 'app', 'app.kubernetes.io/name'),
      version: label(found, 'version', 'app.kubernetes.io/version'),
      isNode: false,
    }
  }

  /** The ServicePort behind a cluster address, an external address or a node port. */
  service(address: Uint8Array, port: number, protocol: number): ServicePort | undefined {
    const { servicePort } = this.resources
    const key = `${addressKey(address)}${port}/${protocol}`
    const service = servicesByAddress(servicePort).get(key)
    if (service !== undefined || port === 0) return service
    if (!isNodeAddress(this.resources, address)) return undefined
    return servicesByNodePort(servicePort).get(`${port}/${protocol}`)
  }

  /** Text of a rule; undefined for 0. */
  rule(id: number): string | undefined {
    if (id === 0) return undefined
    return this.resources.rule.get(String(id))?.text ?? `rule ${id}`
  }

  /** "shop/web (app=web), identity 300", or the name of a reserved one. */
  identity(id: number): string {
    const reserved = reservedName(id)
    if (reserved !== undefined) return `${reserved} (identity ${id})`
    const found = this.resources.identity.get(String(id))
    if (found === undefined) return `identity ${id}`
    const labels = Object.entries(found.labels).map(([key, value]) => `${key}=${value}`)
    if (found.namespace === '') return `identity ${id}: ${labels.join(', ')}`
    const account = `service account ${found.namespace}/${found.serviceAccount}`
    return `identity ${id}: ${[account, ...labels].join(', ')}`
  }
}

function fromWorkload(workload: Workload, identity: number): Peer {
  return { ...workload, pod: workload.name, identity, isNode: false }
}

function label(identity: Identity | undefined, ...names: string[]): string {
  for (const name of names) {
    const value = identity?.labels[name]
    if (value !== undefined) return value
  }
  return ''
}
