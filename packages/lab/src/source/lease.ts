// SPDX-License-Identifier: Apache-2.0
// Leases: the heartbeat of a node, and whether a component of the control plane is alive.
import { ApiError, pathOf, type ApiClient } from '@pillion/operator'
import type { KubeObject } from '../types.ts'
import { kinds } from './kinds.ts'

/** A kubelet's: four heartbeats may be lost. */
const leaseSeconds = 40

/** MicroTime of Kubernetes. */
const microTime = (date: Date): string => date.toISOString().replace('Z', '000Z')

/** The Lease of a node that is alive now. */
export function heartbeat(node: string, now: Date): KubeObject {
  return {
    ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
    metadata: { name: node, namespace: 'kube-node-lease' },
    spec: {
      holderIdentity: node,
      leaseDurationSeconds: leaseSeconds,
      renewTime: microTime(now),
    },
  }
}

/** Whether a component of the control plane (by the name of its Lease in kube-system) runs. Throws an ApiError. */
export async function hasLeader(client: ApiClient, name: string): Promise<boolean> {
  try {
    const path = pathOf(kinds.Lease, { namespace: 'kube-system', name })
    const { spec } = await client.request<{
      spec: { renewTime?: string; leaseDurationSeconds?: number }
    }>({ path })
    const { renewTime = '', leaseDurationSeconds = 15 } = spec
    return Date.parse(renewTime) + leaseDurationSeconds * 1000 > Date.now()
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false
    throw error
  }
}
