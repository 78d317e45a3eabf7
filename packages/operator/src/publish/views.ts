// SPDX-License-Identifier: Apache-2.0
// What one process of one node needs of everything that was compiled.
import {
  emptyResources,
  ReservedIdentity,
  Role,
  type Address,
  type Resources,
  type Workload,
} from '@pillion/contract'
import type { Compiled } from '../compile/compile.ts'

interface NodeAddresses {
  readonly base: ReadonlyMap<string, Address>
  readonly own: string
  readonly addresses: ReadonlyMap<string, Address>
}

const none: ReadonlyMap<string, Workload> = new Map()

/** Views are cheap: most of their maps are those of `Compiled`, shared by all nodes and equal by identity while unchanged. */
export class Views {
  readonly #addresses = new Map<string, NodeAddresses>()

  of(compiled: Compiled, node: string, role: Role): Resources {
    const { settings, workloads, services, policies, routes } = compiled
    const common = {
      ...emptyResources(),
      settings,
      identity: workloads.identities,
      workload: workloads.workloadsByNode.get(node) ?? none,
    }
    if (role === Role.PROXY) {
      return {
        ...common,
        servicePort: compiled.proxyServicePorts,
        endpoint: compiled.proxyEndpoints,
        routeTable: routes.tables,
      }
    }
    return {
      ...common,
      rule: policies.rules,
      subjectPolicy: policies.subjects,
      address: this.#addressesOf(compiled, node),
      servicePort: services.servicePorts,
      endpoint: services.endpoints,
    }
  }

  /** Forgets nodes that are not in `nodes`. */
  prune(nodes: ReadonlySet<string>): void {
    for (const node of this.#addresses.keys())
      if (!nodes.has(node)) this.#addresses.delete(node)
  }

  /** A node's own addresses are HOST to itself. O(addresses) for each node whenever an address changed. */
  #addressesOf({ workloads }: Compiled, node: string): ReadonlyMap<string, Address> {
    const base = workloads.addresses
    const names = workloads.ownAddresses.get(node) ?? []
    const own = names.join()
    const known = this.#addresses.get(node)
    if (known?.base === base && known.own === own) return known.addresses
    const addresses = new Map(base)
    for (const name of names) {
      const address = base.get(name)
      if (address) addresses.set(name, { ...address, identity: ReservedIdentity.host })
    }
    this.#addresses.set(node, { base, own, addresses })
    return addresses
  }
}
