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
  withoutJudged,
} from '@pillion/contract'
import { isNodeAddress } from './destinations.ts'
import { indexOf, type Index } from './index-of.ts'

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

/** Address bytes as a key. */
export function addressKey(address: Uint8Array): string {
  return Buffer.from(address.buffer, address.byteOffset, address.length).toString(
    'latin1',
  )
}

// The addresses of a pod in the node's network are the node's.
const podsByAddress = indexOf(({ hostNetwork, addresses }: Workload) =>
  hostNetwork ? [] : addresses.map(addressKey),
)
const podsByIdentity = indexOf(({ identity }: Workload) => [String(identity)])
const endpointsByIdentity = indexOf(({ identity }: Endpoint) => [String(identity)])
const endpointsByAddress = indexOf(({ address }: Endpoint) => [addressKey(address)])
const servicesByNumber = indexOf(({ id }: ServicePort) => [String(id)])
const servicesByAddress = indexOf((service: ServicePort) =>
  [...service.addresses, ...service.externalAddresses].map(
    (address) => `${addressKey(address)}${service.port}/${service.protocol}`,
  ),
)
const servicesByNodePort = indexOf(({ nodePort, protocol }: ServicePort) => [
  `${nodePort}/${protocol}`,
])

/** The resources of `map` that `index` has under `key`. */
function found<V>(
  map: ReadonlyMap<string, V>,
  index: (map: ReadonlyMap<string, V>) => Index,
  key: string,
): V[] {
  return index(map)(key).flatMap((name) => map.get(name) ?? [])
}

export class Names {
  readonly resources: Resources
  readonly #peers = new Map<string, Peer>()

  constructor(resources: Resources) {
    this.resources = resources
  }

  /** Who has this address and identity. Zero bytes as address: not known, only the identity is. */
  peer(address: Uint8Array, numbered: number): Peer {
    // Who came by way of a proxy that judged its requests is the same one.
    const identity = withoutJudged(numbered)
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
    const [pod] = found(workload, podsByAddress, key)
    if (pod !== undefined) return fromWorkload(pod, identity)
    const [served] = found(endpoint, endpointsByAddress, key)
    if (served !== undefined) return { ...served, identity, isNode: false }
    const owner = this.resources.address.get(`${formatAddress(address)}/128`)
    const peer = this.#byIdentity(identity)
    if (owner === undefined) return address.some(Boolean) ? peer : this.#local(peer)
    if (owner.nodeAddress) return { ...peer, isNode: true }
    return { ...peer, pod: owner.owner.split('/')[1] ?? '' }
  }

  /** Whoever has this identity, as far as all who have it are the same: sums are kept by identity, not by address. */
  group(numbered: number): Peer {
    const identity = withoutJudged(numbered)
    const peer = this.#local(this.#byIdentity(identity))
    const served = found(this.resources.endpoint, endpointsByIdentity, String(identity))
    const [first] = served
    if (peer.workload !== '' || first === undefined) return { ...peer, pod: '' }
    const same = served.every(({ workload }) => workload === first.workload)
    return same ? { ...first, identity, pod: '', isNode: false } : peer
  }

  /** A ServicePort by its number. */
  serviceOf(id: number): ServicePort | undefined {
    return found(this.resources.servicePort, servicesByNumber, String(id))[0]
  }

  /** A denied connect has no source address yet; its identity may still belong to one pod, or one workload. */
  #local(peer: Peer): Peer {
    const { workload } = this.resources
    const [first, ...others] = found(workload, podsByIdentity, String(peer.identity))
    if (first === undefined) return peer
    const known = fromWorkload(first, peer.identity)
    if (others.length === 0) return known
    const same = others.every((other) => other.workload === first.workload)
    return same ? { ...known, pod: '' } : peer
  }

  #byIdentity(identity: number): Peer {
    const known = this.resources.identity.get(String(identity))
    return {
      identity,
      namespace: known?.namespace ?? '',
      pod: '',
      workload: '',
      serviceAccount: known?.serviceAccount ?? '',
      app: label(known, 'app', 'app.kubernetes.io/name'),
      version: label(known, 'version', 'app.kubernetes.io/version'),
      isNode: false,
    }
  }

  /** The ServicePort behind a cluster address, an external address or a node port. */
  service(address: Uint8Array, port: number, protocol: number): ServicePort | undefined {
    const { servicePort } = this.resources
    const key = `${addressKey(address)}${port}/${protocol}`
    const [service] = found(servicePort, servicesByAddress, key)
    if (service !== undefined || port === 0) return service
    if (!isNodeAddress(this.resources, address)) return undefined
    return found(servicePort, servicesByNodePort, `${port}/${protocol}`)[0]
  }

  /** Text of a rule; undefined for 0. */
  rule(id: number): string | undefined {
    if (id === 0) return undefined
    return this.resources.rule.get(String(id))?.text ?? `rule ${id}`
  }

  /** "shop/web (app=web), identity 300", or the name of a reserved one. */
  identity(numbered: number): string {
    const id = withoutJudged(numbered)
    const reserved = reservedName(id)
    if (reserved !== undefined) return `${reserved} (identity ${id})`
    const known = this.resources.identity.get(String(id))
    if (known === undefined) return `identity ${id}`
    const labels = Object.entries(known.labels).map(([key, value]) => `${key}=${value}`)
    if (known.namespace === '') return `identity ${id}: ${labels.join(', ')}`
    const account = `service account ${known.namespace}/${known.serviceAccount}`
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
