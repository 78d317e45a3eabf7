// SPDX-License-Identifier: Apache-2.0
// The configuration in force: immutable snapshots, swapped as one reference. A request reads one snapshot from beginning
// to end; a service that is gone stays usable for the connections that were made to it.
import {
  type Changes,
  compileRequestPolicies,
  emptyResources,
  L7Protocol,
  placeOf,
  type Resources,
  type ServicePort,
} from '@pillion/contract'
import type { Policies } from '../authorize/guard.ts'
import { Cluster } from '../cluster/cluster.ts'
import type { Ejections } from '../cluster/ejections.ts'
import { Endpoint } from '../cluster/endpoint.ts'
import { type Members, membersOf } from '../cluster/members.ts'
import { type FilterUse, usesOf } from '../extension/use.ts'
import { RetryBudget } from '../filter/retry-budget.ts'
import { type DestinationLabels, orUnknown, principal } from '../metrics/labels.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { compileTable, implicitTable } from '../route/compile.ts'
import type { Table } from '../route/table.ts'
import { ClientDirectory } from './clients.ts'

export type Service = Members & {
  /** "shop/web:80/TCP". */
  readonly name: string
  readonly id: number
  readonly port: number
  readonly protocol: L7Protocol
  readonly table: Table
  /** Session affinity by client address; 0: none. */
  readonly affinityMs: number
  readonly budget: RetryBudget
  /** Balancing and limits; lives as long as the name does. */
  readonly cluster: Cluster
  /** Filters of users, in order; undefined: none. */
  readonly extensions: readonly FilterUse[] | undefined
  /** Labels of requests that reached no endpoint. */
  readonly destination: DestinationLabels
}

export type Config = {
  readonly byId: ReadonlyMap<number, Service>
  readonly byName: ReadonlyMap<string, Service>
  readonly clients: ClientDirectory
  /** Of endpoints' identities that rules for requests are about. */
  readonly policies: Policies
  readonly traceSampleRatio: number
  readonly traceCollector: string
  readonly accessLog: boolean
  /** Share of access lines, 0 to 1. */
  readonly accessLogSample: number
  /** Measure by OpenTelemetry's names as well. */
  readonly otelMetrics: boolean
}

/** Services that left, kept at most. */
const maxWithdrawn = 256

/** Holds what is in force and makes the next one from a change, touching only what the change is about. */
export class ConfigStore {
  readonly #metrics: Metrics
  readonly #node: string
  readonly #limitKeys: number
  readonly #ejections: Ejections
  readonly #endpoints: Map<string, Endpoint> = new Map()
  readonly #endpointsOf: Map<number, Map<string, Endpoint>> = new Map()
  readonly #withdrawn: Map<number, Service> = new Map()
  #resources: Resources = emptyResources()
  current: Config
  /** True after the first configuration. */
  received = false

  /** `node`: name of this node. `limitKeys`: buckets that a rate limit may keep. */
  constructor(metrics: Metrics, node: string, limitKeys: number, ejections: Ejections) {
    this.#ejections = ejections
    this.#limitKeys = limitKeys
    this.#metrics = metrics
    this.#node = node
    this.current = {
      byId: new Map(),
      byName: new Map(),
      clients: new ClientDirectory(this.#resources, metrics),
      policies: new Map(),
      traceSampleRatio: 0,
      traceCollector: '',
      accessLog: false,
      accessLogSample: 1,
      otelMetrics: false,
    }
  }

  get resources(): Resources {
    return this.#resources
  }

  get endpoints(): ReadonlyMap<string, Endpoint> {
    return this.#endpoints
  }

  /**
   * The service that the kernel redirected a connection for. One that is no longer declared counts as well: the kernel
   * learns of it a moment after we do, and what it redirects meanwhile is served once and told to close.
   */
  accepting(id: number): Service | undefined {
    const service = this.current.byId.get(id)
    if (service !== undefined && service.protocol !== L7Protocol.UNSPECIFIED)
      return service
    return this.#withdrawn.get(id)
  }

  #withdraw(service: Service | undefined): void {
    if (service === undefined || service.protocol === L7Protocol.UNSPECIFIED) return
    this.#withdrawn.set(service.id, service)
    const [oldest] = this.#withdrawn.keys()
    if (this.#withdrawn.size > maxWithdrawn && oldest !== undefined) {
      this.#withdrawn.delete(oldest)
    }
  }

  /** Compiles first and swaps last: on a throw, what was in force stays in force. */
  update(resources: Resources, changes: Changes): void {
    const tables = this.#compileTables(resources, changes)
    const policies = changes.has('l7Policy')
      ? compileRequestPolicies(resources)
      : this.current.policies
    const touched = this.#updateEndpoints(resources, changes)
    const byName = new Map(this.current.byName)
    for (const name of touched) {
      const message = resources.servicePort.get(name)
      if (message?.l7Protocol !== this.current.byName.get(name)?.protocol) {
        this.#withdraw(this.current.byName.get(name))
      }
      if (message === undefined) byName.delete(name)
      else byName.set(name, this.#service(name, message, tables.get(name), resources))
    }
    const byId = new Map<number, Service>()
    for (const service of byName.values()) byId.set(service.id, service)
    const settings = resources.settings.get('mesh')
    const clientsChanged = changes.has('identity') || changes.has('workload')
    this.#resources = resources
    this.current = {
      byId,
      byName,
      clients: clientsChanged
        ? new ClientDirectory(resources, this.#metrics)
        : this.current.clients,
      policies,
      traceSampleRatio: settings?.traceSampleRatio ?? 0,
      traceCollector: settings?.traceCollector ?? '',
      accessLog: settings?.accessLog ?? false,
      accessLogSample: settings?.accessLogSample ?? 1,
      otelMetrics: settings?.otelMetrics ?? false,
    }
    this.received = true
    if (changes.has('endpoint')) this.#prune()
    if (changes.has('servicePort'))
      this.#metrics.services.prune((name) => byName.has(name))
  }

  #compileTables(resources: Resources, changes: Changes): Map<string, Table> {
    const tables = new Map<string, Table>()
    const names = new Set([
      ...(changes.get('routeTable') ?? []),
      ...(changes.get('servicePort') ?? []),
    ])
    for (const name of names) {
      const message = resources.routeTable.get(name)
      const service = resources.servicePort.get(name)
      if (message !== undefined) tables.set(name, compileTable(name, message))
      else if (service !== undefined) tables.set(name, implicitTable(name, service.id))
    }
    return tables
  }

  /** Names of the services that the change touches. */
  #updateEndpoints(resources: Resources, changes: Changes): Set<string> {
    const touched = new Set([
      ...(changes.get('servicePort') ?? []),
      ...(changes.get('routeTable') ?? []),
      // Its zone: other endpoints may be near.
      ...(changes.has('node') ? resources.servicePort.keys() : []),
    ])
    for (const name of changes.get('endpoint') ?? []) {
      const serviceName = name.slice(0, name.lastIndexOf('|'))
      touched.add(serviceName)
      const message = resources.endpoint.get(name)
      const known = this.#endpoints.get(name)
      if (message === undefined) {
        this.#endpoints.delete(name)
        if (known !== undefined) {
          this.#endpointsOf.get(known.serviceId)?.delete(name)
          this.#ejections.forget(known)
        }
        continue
      }
      const labels = this.#destination(serviceName, message)
      if (known !== undefined) {
        known.update(message, labels)
        continue
      }
      const endpoint = new Endpoint(name, message, labels)
      this.#endpoints.set(name, endpoint)
      const siblings =
        this.#endpointsOf.get(message.serviceId) ?? new Map<string, Endpoint>()
      this.#endpointsOf.set(message.serviceId, siblings.set(name, endpoint))
    }
    return touched
  }

  #service(
    name: string,
    message: ServicePort,
    table: Table | undefined,
    resources: Resources,
  ): Service {
    const known = this.current.byName.get(name)
    const inForce = table ?? known?.table ?? implicitTable(name, message.id)
    const budget = known?.budget ?? new RetryBudget(inForce.budget)
    budget.update(inForce.budget)
    const endpoints = [...(this.#endpointsOf.get(message.id)?.values() ?? [])]
    const place = placeOf(resources, this.#node)
    const members = membersOf(message, endpoints, place)
    const cluster =
      known?.cluster ??
      new Cluster(this.#metrics, this.#limitKeys, this.#ejections.of(name))
    cluster.update(
      resources.routeTable.get(name)?.traffic,
      members.readyOutside,
      place.zone,
    )
    return {
      name,
      id: message.id,
      port: message.port,
      protocol: message.l7Protocol,
      table: inForce,
      ...members,
      affinityMs: message.affinitySeconds * 1000,
      budget,
      cluster,
      extensions: usesOf(resources.routeTable.get(name)),
      destination: this.#destination(name, undefined),
    }
  }

  #destination(
    serviceName: string,
    endpoint:
      | {
          workload: string
          namespace: string
          serviceAccount: string
          app: string
          version: string
        }
      | undefined,
  ): DestinationLabels {
    const [namespace = '', rest = ''] = serviceName.split('/')
    const service = rest.split(':')[0] ?? ''
    return this.#metrics.destination({
      service: `${service}.${namespace}.svc.cluster.local`,
      serviceName: orUnknown(service),
      serviceNamespace: orUnknown(namespace),
      workload: orUnknown(endpoint?.workload),
      namespace: orUnknown(endpoint?.namespace),
      principal:
        endpoint === undefined
          ? 'unknown'
          : principal(endpoint.namespace, endpoint.serviceAccount),
      app: orUnknown(endpoint?.app),
      version: orUnknown(endpoint?.version),
    })
  }

  #prune(): void {
    const used = new Set<DestinationLabels>()
    for (const endpoint of this.#endpoints.values()) used.add(endpoint.destination)
    for (const service of this.current.byName.values()) used.add(service.destination)
    this.#metrics.prune(used)
    this.#metrics.routes.prune((name) => this.current.byName.has(name))
    this.#metrics.otel.prune(used)
  }
}

/** How an endpoint is spoken to: as its service declares, else as its port's appProtocol says, else as the client spoke. */
export function speaksHttp2(
  declared: L7Protocol,
  appProtocol: L7Protocol,
  client: boolean,
): boolean {
  const said = declared === L7Protocol.UNSPECIFIED ? appProtocol : declared
  return said === L7Protocol.UNSPECIFIED ? client : isHttp2(said)
}

/** True when the declared protocol is framed as HTTP/2. */
export function isHttp2(protocol: L7Protocol): boolean {
  return protocol === L7Protocol.HTTP2 || protocol === L7Protocol.GRPC
}
