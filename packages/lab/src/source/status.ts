// SPDX-License-Identifier: Apache-2.0
// Status as kubelet and the deployment controller write it.
import { release } from 'node:os'
import { replicasOf } from '../manifest/expand.ts'
import type { DeploymentObject, PodObject } from '../types.ts'

interface Condition {
  readonly type: string
  readonly status: string
  readonly [field: string]: unknown
}

/** A runner's Pod object to the status that an API server takes; the lab runs one container. */
export function podStatus(pod: PodObject): object {
  const status = pod.status as {
    conditions: Condition[]
    containerStatuses: { name: string }[]
    podIPs: { ip: string }[]
    hostIP: string
    phase: string
  }
  const image = pod.spec.containers[0]?.image ?? ''
  return {
    ...status,
    hostIPs: [{ ip: status.hostIP }],
    startTime: pod.metadata.creationTimestamp?.replace(/\.\d+Z$/, 'Z'),
    conditions: [
      { type: 'PodScheduled', status: 'True' },
      { type: 'Initialized', status: 'True' },
      ...status.conditions,
    ],
    containerStatuses: status.containerStatuses.map((each) => ({
      ...each,
      ...{ image, imageID: '', started: status.phase === 'Running' },
    })),
  }
}

/** What a kubelet says of the machine; GOARCH names architectures otherwise than Node.js. */
export function nodeInfo(): object {
  return {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    operatingSystem: 'linux',
    kernelVersion: release(),
    osImage: 'Pillion lab',
    containerRuntimeVersion: 'pillion-lab://processes',
    kubeletVersion: 'pillion-lab',
    kubeProxyVersion: '',
    machineID: '',
    systemUUID: '',
    bootID: '',
  }
}

/** Status of a pod that the lab cannot run: it has failed, with the reason. */
export function refusedStatus(message: string): object {
  return { phase: 'Failed', reason: 'CannotRun', message }
}

/** Counts of a deployment's pods. */
export interface Counted {
  readonly hash: string
  readonly ready: boolean
}

export function deploymentStatus(
  deployment: DeploymentObject,
  hash: string,
  pods: readonly Counted[],
): object {
  const wanted = replicasOf(deployment)
  const ready = pods.filter((pod) => pod.ready).length
  const updated = pods.filter((pod) => pod.hash === hash).length
  const { generation = 0 } = deployment.metadata
  return {
    observedGeneration: generation,
    replicas: pods.length,
    updatedReplicas: updated,
    readyReplicas: ready,
    availableReplicas: ready,
    unavailableReplicas: Math.max(0, wanted - ready),
    conditions: [
      {
        type: 'Available',
        status: ready >= wanted ? 'True' : 'False',
        reason:
          ready >= wanted ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
        message: `${ready} of ${wanted} pods are ready`,
      },
    ],
  }
}
