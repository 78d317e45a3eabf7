// SPDX-License-Identifier: Apache-2.0
import {
  type ConnectionPool,
  type Endpoint as EndpointMessage,
  formatAddress,
  formatEndpoint,
  isMappedIPv4,
} from '@pillion/contract'
import type { DestinationLabels } from '../metrics/labels.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { Latency } from './balance/peak-ewma.ts'
import { fnv1a } from './hash.ts'
import { EndpointHealth } from './outlier.ts'

/** One address that serves a service. Lives as long as its name does, over every change of its other fields. */
export class Endpoint {
  /** Name of the resource, "shop/web:80/TCP|10.244.1.2:8080". */
  readonly name: string
  readonly serviceId: number
  readonly host: string
  readonly port: number
  readonly family: 4 | 6
  /** Of address and port: what session affinity chooses by. */
  readonly hash: number
  weight = 1
  /** Ready, or terminating and still serving. */
  ready = false
  terminating = false
  node = ''
  /** Whose policy a request to it falls under. */
  identity = 0
  /** Empty: unknown. */
  zone = ''
  hintZones: string[] = []
  hintNodes: string[] = []
  /** Requests in flight, of all identities: what the balancer compares. */
  active = 0
  /** Monotonic, milliseconds: when it became ready, as far as this process knows. */
  readySinceMs = 0
  readonly health: EndpointHealth = new EndpointHealth()
  readonly latency: Latency = new Latency(performance.now())
  destination: DestinationLabels
  /** Pools to it by key of pool.ts; owned by UpstreamPools. */
  readonly upstreams: Map<number, Upstream> = new Map()
  /** By which they were made. */
  poolRule: ConnectionPool | undefined

  constructor(name: string, message: EndpointMessage, destination: DestinationLabels) {
    this.name = name
    this.serviceId = message.serviceId
    this.host = formatAddress(message.address)
    this.port = message.port
    this.hash = fnv1a(Buffer.from(formatEndpoint(message.address, message.port)))
    this.family = isMappedIPv4(message.address) ? 4 : 6
    this.destination = destination
    this.update(message, destination)
  }

  update(message: EndpointMessage, destination: DestinationLabels): void {
    this.weight = Math.max(1, message.weight)
    if (message.ready && !this.ready) this.readySinceMs = performance.now()
    this.ready = message.ready
    this.terminating = message.terminating
    this.node = message.node
    this.zone = message.zone
    this.identity = message.identity
    this.hintZones = message.hintZones
    this.hintNodes = message.hintNodes
    this.destination = destination
  }
}
