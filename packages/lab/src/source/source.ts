// SPDX-License-Identifier: Apache-2.0
// Where a lab's objects come from and where what it makes of them goes: one face, two implementations.
import type { DeploymentObject, KubeObject, PodObject, ServiceObject } from '../types.ts'

/** A pod that should run. */
export interface DesiredPod {
  readonly pod: PodObject
  /** Who the pod is, where the source says so; the lab makes a uid otherwise. */
  readonly uid?: string
  /** With another text it is another pod of the same name: the old one ends first. */
  readonly generation: string
}

/** What happened to one object. */
export interface Applied {
  readonly kind: string
  readonly namespace?: string
  readonly name: string
  readonly action: 'created' | 'configured' | 'unchanged' | 'deleted'
}

/** Changes of objects through the lab itself. Each throws a LabError. */
export interface Edits {
  /** Objects of a file or directory: all or none. */
  apply(path: string): Applied[]
  /** Deletes what a file names. Objects that do not exist are an error, after the others are deleted. */
  deleteFile(path: string): Applied[]
  deleteOne(kind: string, namespace: string | undefined, name: string): Applied[]
}

export interface ObjectSource {
  /** Arguments by which the operator reads the same objects. */
  readonly operatorArguments: readonly string[]
  /** Address of the DNS server of pods; asked for each pod. */
  readonly dnsAddress: string
  /** Undefined: objects are changed elsewhere. */
  readonly edits: Edits | undefined
  /** Reads everything, before anything is made on the host. Throws a LabError. */
  start(): Promise<void>
  /** From now on `onChange` is called after each change. */
  follow(onChange: () => void): void
  /** Pods that should run; those of `deployments` are not among them. */
  readonly pods: DesiredPod[]
  /** Deployments whose pods exist only as what runs. */
  readonly deployments: { object: DeploymentObject; uid: string }[]
  /** How many pods should run in the end. */
  readonly wantedCount: number
  readonly services: ServiceObject[]
  /** All objects, or those of a kind, for people and for DNS. */
  list(kind?: string): KubeObject[]
  putNode(node: KubeObject): void
  /** Pods with their status and EndpointSlices: all that there are now. */
  publish(objects: readonly KubeObject[]): void
  /** Seconds that a pod which is going away may take; undefined: what its spec says. */
  graceSeconds(uid: string): number | undefined
}
