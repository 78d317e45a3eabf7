// SPDX-License-Identifier: Apache-2.0
// The kinds that the lab reads and writes through an API server.
import type { Resource } from '@pillion/operator'

const core = { group: '', version: 'v1', optional: false } as const

export const kinds = {
  Namespace: { ...core, kind: 'Namespace', plural: 'namespaces' },
  Node: { ...core, kind: 'Node', plural: 'nodes' },
  Pod: { ...core, kind: 'Pod', plural: 'pods' },
  Service: { ...core, kind: 'Service', plural: 'services' },
  ServiceAccount: { ...core, kind: 'ServiceAccount', plural: 'serviceaccounts' },
  Deployment: {
    ...{ group: 'apps', version: 'v1', optional: false },
    ...{ kind: 'Deployment', plural: 'deployments' },
  },
  EndpointSlice: {
    ...{ group: 'discovery.k8s.io', version: 'v1', optional: false },
    ...{ kind: 'EndpointSlice', plural: 'endpointslices' },
  },
  Lease: {
    ...{ group: 'coordination.k8s.io', version: 'v1', optional: false },
    ...{ kind: 'Lease', plural: 'leases' },
  },
} as const satisfies Record<string, Resource>

export type Kind = keyof typeof kinds
