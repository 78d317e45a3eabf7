// SPDX-License-Identifier: Apache-2.0
// Deployments to pods, pods to nodes. Pure: what should run, given what runs.
import { createHash } from 'node:crypto'
import type { DeploymentObject, ObjectMeta, PodObject, PodSpec } from '../types.ts'

/** Kubernetes' alphabet for generated names: no vowels, nothing that reads as another character. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789'

/** Text of `length` characters of the alphabet, from `bytes`. */
export function suffix(bytes: Uint8Array, length: number): string {
  return Array.from(
    bytes.subarray(0, length),
    (byte) => alphabet[byte % alphabet.length],
  ).join('')
}

/** Hash of a pod template: names the generation of pods. */
export function templateHash(template: unknown): string {
  return suffix(createHash('sha256').update(JSON.stringify(template)).digest(), 10)
}

/** A pod of a deployment: everything but its uid, name and node. */
export interface PodTemplate {
  /** Name before the random suffix: "web-<hash>-". */
  readonly prefix: string
  readonly hash: string
  readonly metadata: Omit<ObjectMeta, 'name'>
  readonly spec: PodSpec
}

/** The pods that a deployment wants now. `ownerUid` is that of the deployment. */
export function deploymentTemplate(
  deployment: DeploymentObject,
  ownerUid: string,
): PodTemplate {
  const { template } = deployment.spec
  const hash = templateHash(template)
  const { name, namespace } = deployment.metadata
  const prefix = `${name}-${hash}`
  return {
    prefix: `${prefix}-`,
    hash,
    metadata: {
      ...(namespace === undefined ? {} : { namespace }),
      labels: { ...template.metadata?.labels, 'pod-template-hash': hash },
      annotations: { ...template.metadata?.annotations },
      // As in a cluster, where the ReplicaSet stands between the two.
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: prefix,
          uid: ownerUid,
          controller: true,
        },
      ],
    },
    spec: template.spec,
  }
}

/** Name of the Deployment of a pod, undefined for a bare pod. */
export function deploymentOf(pod: PodObject): string | undefined {
  const owner = pod.metadata.ownerReferences?.find((reference) => reference.controller)
  const hash = pod.metadata.labels?.['pod-template-hash']
  if (owner?.kind !== 'ReplicaSet' || hash === undefined) return undefined
  return owner.name.slice(0, -hash.length - 1)
}

/** What of a deployment's pod decides about a roll-out. */
export interface Rolled {
  readonly hash: string
  readonly ready: boolean
}

/**
 * Rolling update: how many pods of the template to make, and which of the living ones to end. All new pods start at once,
 * old ones end when the new ones are ready.
 */
export function rollout<P extends Rolled>(
  hash: string,
  replicas: number,
  mine: readonly P[],
): { missing: number; surplus: P[] } {
  const current = mine.filter((pod) => pod.hash === hash)
  const surplus = current.slice(replicas)
  if (current.filter(({ ready }) => ready).length >= replicas)
    surplus.push(...mine.filter((pod) => pod.hash !== hash))
  return { missing: Math.max(0, replicas - current.length), surplus }
}

/** A new pod of the template; `random` is five bytes or more. */
export function podOf(template: PodTemplate, random: Uint8Array): PodObject {
  const metadata = { ...template.metadata, name: template.prefix + suffix(random, 5) }
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: template.spec }
}

export function replicasOf({ spec }: DeploymentObject): number {
  return spec.replicas ?? 1
}

/** Load of a node: pods of the same owner weigh first, then all pods. */
export interface NodeLoad {
  readonly node: string
  readonly sameOwner: number
  readonly pods: number
}

/** The node for a pod without nodeName: fewest of the same owner, then fewest pods, then the first. */
export function pickNode(loads: readonly NodeLoad[]): string | undefined {
  return loads.toSorted((a, b) => a.sameOwner - b.sameOwner || a.pods - b.pods)[0]?.node
}
