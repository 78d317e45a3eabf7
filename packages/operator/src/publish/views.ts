// SPDX-License-Identifier: Apache-2.0
// What one process of one node needs of everything that was compiled.
import {
  emptyResources,
  Role,
  type Address,
  type Node,
  type Resources,
  type Workload,
  OverlayMap,
} from '@pillion/contract'
import type { Compiled } from '../compile/compile.ts'

const none: ReadonlyMap<string, Workload> = new Map()
const unknown: ReadonlyMap<string, Node> = new Map()
const nowhere: ReadonlyMap<string, Address> = new Map()

/** Views are cheap: their maps are those of `Compiled`, shared by all nodes and equal by identity while unchanged. */
export function viewOf(compiled: Compiled, node: string, role: Role): Resources {
  const { settings, workloads, services, policies, routes } = compiled
  const common = {
    ...emptyResources(),
    settings,
    node: compiled.nodes.get(node) ?? unknown,
    identity: workloads.identities,
    workload: workloads.workloadsByNode.get(node) ?? none,
  }
  if (role === Role.PROXY) {
    return {
      ...common,
      servicePort: compiled.proxyServicePorts,
      endpoint: compiled.proxyEndpoints,
      routeTable: routes.tables,
      l7Policy: policies.requests,
    }
  }
  return {
    ...common,
    rule: policies.rules,
    subjectPolicy: policies.subjects,
    // A node's own addresses are HOST to itself.
    address: new OverlayMap(
      workloads.addresses,
      workloads.ownAddresses.get(node) ?? nowhere,
    ),
    servicePort: services.servicePorts,
    endpoint: services.endpoints,
  }
}
