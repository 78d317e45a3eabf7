// SPDX-License-Identifier: Apache-2.0
// Plays the DaemonSet controller and the kubelets of a cluster: pods from the template, one on each node that its nodeSelector names,
// Ready unless a test says no; pods that clean a node end well, unless a test says otherwise.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, KubeObject } from '../../../../../test/support/apiserver/index.ts'

export const namespace = 'pillion-system'
const sets = `/apis/apps/v1/namespaces/${namespace}/daemonsets`
const pods = `/api/v1/namespaces/${namespace}/pods`

export interface NodePodObject extends KubeObject {
  readonly status: NonNullable<KubeObject['status']>
}

/** What a test knows of one pod. */
export interface Seen {
  readonly name: string
  readonly node: string
  readonly image: string
  readonly isRemoval: boolean
}

type Status = Record<string, unknown>

export class Daemons {
  readonly nodes = new Set<string>()
  /** Labels of nodes; most have none. */
  readonly labels = new Map<string, Readonly<Record<string, string>>>()
  /** What the kubelet of a node says of a pod that cleans it. */
  cleanerStatusOf: (node: string) => Status = () => ({ phase: 'Succeeded' })
  /** Nodes that were cleaned, in order. */
  readonly cleaned: string[] = []
  /** What the kubelet of a node says of such a pod; Ready unless said. */
  statusOf: (pod: Seen) => Status = () => ({})
  /** Pods in the order in which they were made. */
  readonly made: Seen[] = []
  /** The least number of pods that were ready at a time, since it was set. */
  leastReady = Number.POSITIVE_INFINITY
  readonly #admin: Client
  readonly #running: Promise<void>
  #stopped = false

  constructor(admin: Client) {
    this.#admin = admin
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async pods(): Promise<Seen[]> {
    const { body } = await this.#admin.get(pods)
    return ((body['items'] ?? []) as KubeObject[])
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(seenOf)
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#turn()
      await sleep(5)
    }
  }

  async #turn(): Promise<void> {
    const { code, body } = await this.#admin.get(`${sets}/pillion-node`)
    const all = ((await this.#admin.get(pods)).body['items'] ?? []) as KubeObject[]
    const mine = all.filter(({ metadata }) => metadata.name.startsWith('pillion-node-'))
    this.leastReady = Math.min(this.leastReady, mine.length)
    const set = code === 200 ? (body as unknown as KubeObject) : undefined
    for (const pod of all)
      if (pod.metadata.name.startsWith('pillion-clean-')) await this.#clean(pod)
    const wanted = new Set([...this.nodes].filter((node) => this.#selects(set, node)))
    for (const pod of mine) {
      const isWanted = set !== undefined && wanted.has(seenOf(pod).node)
      const leaving = pod.metadata.deletionTimestamp !== undefined || !isWanted
      if (leaving)
        await this.#admin.delete(`${pods}/${pod.metadata.name}`, {
          gracePeriodSeconds: 0,
        })
      else await this.#report(pod)
    }
    if (set === undefined) return
    const covered = new Set(mine.map((pod) => seenOf(pod).node))
    for (const node of wanted) if (!covered.has(node)) await this.#make(set, node)
    const status = {
      observedGeneration: set.metadata.generation,
      desiredNumberScheduled: wanted.size,
    }
    await this.#admin.merge(`${sets}/pillion-node/status`, { status })
  }

  #selects(set: KubeObject | undefined, node: string): boolean {
    const { template } = (set?.spec ?? {}) as {
      template?: { spec: { nodeSelector?: Record<string, string> } }
    }
    return Object.entries(template?.spec.nodeSelector ?? {}).every(
      ([name, value]) => this.labels.get(node)?.[name] === value,
    )
  }

  async #clean(pod: KubeObject): Promise<void> {
    const path = `${pods}/${pod.metadata.name}`
    if (pod.metadata.deletionTimestamp !== undefined) {
      await this.#admin.delete(path, { gracePeriodSeconds: 0 })
      return
    }
    const { node } = seenOf(pod)
    const status = this.cleanerStatusOf(node)
    if (JSON.stringify(status) === JSON.stringify(pick(pod.status, status))) return
    if (status['phase'] === 'Succeeded') this.cleaned.push(node)
    await this.#admin.merge(`${path}/status`, { status })
  }

  async #make(set: KubeObject, node: string): Promise<void> {
    const { template } = set.spec as {
      template: { metadata: object; spec: Record<string, unknown> }
    }
    const name = `pillion-node-${this.made.length}`
    const reply = await this.#admin.create(pods, {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: { ...template.metadata, name, namespace },
      spec: { ...template.spec, nodeName: node },
    })
    if (reply.code < 300) this.made.push(seenOf(reply.body as unknown as KubeObject))
  }

  async #report(pod: KubeObject): Promise<void> {
    const conditions = [{ type: 'Ready', status: 'True' }]
    const status = { conditions, ...this.statusOf(seenOf(pod)) }
    if (JSON.stringify(status) === JSON.stringify(pick(pod.status, status))) return
    await this.#admin.merge(`${pods}/${pod.metadata.name}/status`, { status })
  }
}

function pick(from: object | undefined, like: object): object {
  const all = (from ?? {}) as Record<string, unknown>
  return Object.fromEntries(Object.keys(like).map((key) => [key, all[key]]))
}

function seenOf({ metadata, spec }: KubeObject): Seen {
  const {
    nodeName = '',
    initContainers = [],
    containers = [],
  } = (spec ?? {}) as {
    nodeName?: string
    initContainers?: { image: string }[]
    containers?: { image: string }[]
  }
  const isRemoval = initContainers.length > 0
  const image = containers[0]?.image ?? ''
  return { name: metadata.name, node: nodeName, image, isRemoval }
}
