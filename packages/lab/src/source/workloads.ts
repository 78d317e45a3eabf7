// SPDX-License-Identifier: Apache-2.0
// Scheduler and deployment controller for an API server that has none: binds pods to the lab's nodes, expands Deployments.
import { randomBytes } from 'node:crypto'
import {
  deploymentTemplate,
  pickNode,
  podOf,
  replicasOf,
  rollout,
} from '../manifest/expand.ts'
import { Passes } from '../passes.ts'
import type { DeploymentObject, PodObject } from '../types.ts'
import type { Cache } from './cache.ts'
import { deploymentStatus } from './status.ts'
import type { Writer } from './writer.ts'

/** Marks pods that were made here: those whose Deployment is gone are deleted again. */
const madeHere = 'lab.pillion.dev/deployment-uid'
const retryMs = 1000

export interface WorkloadsOptions {
  readonly cache: Cache
  readonly writer: Writer
  readonly nodes: readonly string[]
  /** Whether the API server leaves these to us. */
  readonly schedules: boolean
  readonly expands: boolean
  readonly log: (message: string) => void
}

export class Workloads {
  readonly #options: WorkloadsOptions
  /** Uids of pods that were bound or deleted here and do not show it yet. */
  readonly #bound = new Map<string, string>()
  readonly #deleting = new Set<string>()
  readonly #passes: Passes

  constructor(options: WorkloadsOptions) {
    this.#options = options
    const { log } = options
    const pass = () => this.#pass()
    this.#passes = new Passes({ name: 'workloads', pass, retryMs, log })
  }

  get deployments(): DeploymentObject[] {
    if (!this.#options.expands) return []
    const all = this.#options.cache.list('Deployment') as DeploymentObject[]
    return all.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
  }

  /** Whether the pod was made here for a Deployment. */
  isExpanded(pod: PodObject): boolean {
    return pod.metadata.annotations?.[madeHere] !== undefined
  }

  /** Looks at everything once more; several calls become one. */
  sync(): Promise<void> {
    return this.#passes.run()
  }

  close(): void {
    this.#passes.close()
  }

  async #pass(): Promise<void> {
    const pods = this.#options.cache.list('Pod') as PodObject[]
    const uids = new Set(pods.map(({ metadata }) => metadata.uid ?? ''))
    for (const uid of this.#deleting) if (!uids.has(uid)) this.#deleting.delete(uid)
    for (const uid of this.#bound.keys()) if (!uids.has(uid)) this.#bound.delete(uid)
    for (const deployment of this.deployments) await this.#expand(deployment)
    if (this.#options.expands) await this.#collect()
    if (this.#options.schedules) await this.#schedule()
  }

  #live(): PodObject[] {
    const pods = this.#options.cache.list('Pod') as PodObject[]
    return pods.filter(
      (pod) => isLive(pod) && !this.#deleting.has(pod.metadata.uid ?? ''),
    )
  }

  async #expand(deployment: DeploymentObject): Promise<void> {
    const { writer, cache } = this.#options
    const { uid = '' } = deployment.metadata
    const template = deploymentTemplate(deployment, uid)
    const mine = this.#live()
      .filter(({ metadata }) => metadata.annotations?.[madeHere] === uid)
      .map((pod) => ({ hash: hashOf(pod), ready: isReady(pod), pod }))
    const { missing, surplus } = rollout(template.hash, replicasOf(deployment), mine)
    const annotations = { ...template.metadata.annotations, [madeHere]: uid }
    const marked = { ...template, metadata: { ...template.metadata, annotations } }
    for (let i = 0; i < missing; i++) {
      cache.put('Pod', await writer.create(podOf(marked, randomBytes(5))))
    }
    for (const { pod } of surplus) await this.#delete(pod)
    const status = deploymentStatus(deployment, template.hash, mine)
    writer.put(`deployment/${uid}`, JSON.stringify(status), () =>
      writer.mergeStatus(deployment, status),
    )
  }

  /** Pods of deployments that are gone: garbage collection, without which nobody else would. */
  async #collect(): Promise<void> {
    const owners = new Set(this.deployments.map(({ metadata }) => metadata.uid))
    for (const pod of this.#live()) {
      const owner = pod.metadata.annotations?.[madeHere]
      if (owner !== undefined && !owners.has(owner)) await this.#delete(pod)
    }
  }

  async #delete(pod: PodObject): Promise<void> {
    await this.#options.writer.delete(pod)
    this.#deleting.add(pod.metadata.uid ?? '')
  }

  async #schedule(): Promise<void> {
    const pods = this.#live()
    for (const pod of pods) {
      const { uid = '', namespace = 'default', name } = pod.metadata
      if (pod.spec.nodeName !== undefined || this.#bound.has(uid)) continue
      const node = this.#choose(pod, pods)
      if (node === undefined) continue // its nodeSelector names none of ours: Pending
      const target = { apiVersion: 'v1', kind: 'Node', name: node }
      const metadata = { name, namespace, uid }
      await this.#options.writer.bind({
        ...{ apiVersion: 'v1', kind: 'Binding', metadata, target },
      })
      this.#bound.set(uid, node)
    }
  }

  #choose(pod: PodObject, pods: readonly PodObject[]): string | undefined {
    const wanted = Object.entries(pod.spec.nodeSelector ?? {})
    const loads = this.#options.nodes
      .filter((node) =>
        wanted.every(
          ([key, value]) => key === 'kubernetes.io/hostname' && value === node,
        ),
      )
      .map((node) => {
        const here = pods.filter((each) => this.#nodeOf(each) === node)
        const owner = ownerOf(pod)
        const sameOwner =
          owner === undefined ? 0 : here.filter((each) => ownerOf(each) === owner).length
        return { node, sameOwner, pods: here.length }
      })
    return pickNode(loads)
  }

  #nodeOf(pod: PodObject): string | undefined {
    return pod.spec.nodeName ?? this.#bound.get(pod.metadata.uid ?? '')
  }
}

/** Neither ended nor on its way out. */
export function isLive({ metadata, status }: PodObject): boolean {
  const { phase } = (status ?? {}) as { phase?: string }
  return (
    metadata.deletionTimestamp === undefined &&
    phase !== 'Succeeded' &&
    phase !== 'Failed'
  )
}

function isReady({ status }: PodObject): boolean {
  const { conditions = [] } = (status ?? {}) as {
    conditions?: { type: string; status: string }[]
  }
  return conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True')
}

function hashOf(pod: PodObject): string {
  return pod.metadata.labels?.['pod-template-hash'] ?? ''
}

function ownerOf(pod: PodObject): string | undefined {
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller)
  return owner && `${pod.metadata.namespace}/${owner.name}`
}
