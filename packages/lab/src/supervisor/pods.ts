// SPDX-License-Identifier: Apache-2.0
// From what should run to what runs: creates, replaces and deletes pods.
import { randomBytes, randomUUID } from 'node:crypto'
import { messageOf } from '../errors.ts'
import {
  deploymentTemplate,
  pickNode,
  podOf,
  replicasOf,
  rollout,
} from '../manifest/expand.ts'
import { PodAddresses, podNetns, type NodeInfo } from '../net/addresses.ts'
import { applyPlan, deleteNetns } from '../net/apply.ts'
import { planPods } from '../net/plan.ts'
import { Passes } from '../passes.ts'
import { podCgroup } from '../paths.ts'
import { PodRunner } from '../pod/runner.ts'
import { NodeProber } from '../probe/prober.ts'
import { makeCgroup, removeCgroup } from '../process/cgroup.ts'
import type { DesiredPod, ObjectSource } from '../source/source.ts'
import type { DeploymentObject, PodObject } from '../types.ts'

const retryMs = 2000

export interface PodManagerOptions {
  readonly nodes: readonly NodeInfo[]
  readonly labDir: string
  readonly nameserver: () => string
  readonly source: Pick<ObjectSource, 'pods' | 'deployments' | 'graceSeconds'>
  /** Pods came, went or changed: refresh what is derived from them, now. */
  readonly onChange: () => void
  /** Resolves when the pod may start: the node's agent knows it, or it was not to be waited for. */
  readonly admit: (node: string, uid: string, name: string) => Promise<void>
  readonly log: (message: string) => void
}

interface Slot {
  readonly node: NodeInfo
  readonly addresses: PodAddresses
  readonly prober: NodeProber
}

/** A runner with what decides whether it is still wanted. */
interface Entry {
  readonly runner: PodRunner
  readonly slot: Slot
  /** Deployment key, or "pod" for bare pods. */
  readonly owner: string
  /** Template hash, or what the source says of a bare pod. */
  readonly generation: string
}

type Wanted = DesiredPod & Pick<Entry, 'owner'>

export class PodManager {
  readonly #options: PodManagerOptions
  readonly #slots: readonly Slot[]
  readonly #entries = new Map<string, Entry>()
  readonly #passes: Passes
  #changed: NodeJS.Immediate | undefined

  constructor(options: PodManagerOptions) {
    this.#options = options
    const { log } = options
    this.#passes = new Passes({ name: 'pods', pass: () => this.#pass(), retryMs, log })
    this.#slots = options.nodes.map((node) => ({
      node,
      addresses: new PodAddresses(node),
      prober: new NodeProber(node),
    }))
  }

  get runners(): PodRunner[] {
    return [...this.#entries.values()].map(({ runner }) => runner)
  }

  /** Brings what runs in line with what should; returns when new pods exist (not when they are ready). */
  reconcile(): Promise<void> {
    return this.#passes.run()
  }

  async #pass(): Promise<void> {
    const { pods, deployments } = this.#options.source
    const missing: Wanted[] = []
    const surplus: Entry[] = []
    this.#compareBare(pods, missing, surplus)
    const owners = new Set<string>()
    for (const { object, uid } of deployments) {
      const owner = `${object.metadata.namespace ?? 'default'}/${object.metadata.name}`
      owners.add(owner)
      this.#compareDeployment(object, uid, owner, missing, surplus)
    }
    for (const entry of this.#live()) {
      if (entry.owner !== 'pod' && !owners.has(entry.owner)) surplus.push(entry)
    }
    for (const entry of surplus) entry.runner.markTerminating()
    if (surplus.length > 0) this.#options.onChange()
    for (const entry of surplus) void this.#remove(entry)
    if (missing.length > 0) await this.#create(missing)
  }

  /** Ends one pod; a Deployment replaces it. */
  evict(runner: PodRunner): void {
    const entry = [...this.#entries.values()].find(
      (candidate) => candidate.runner === runner,
    )
    if (entry === undefined || runner.terminating) return
    runner.markTerminating()
    this.#options.onChange()
    void this.#remove(entry)
    void this.reconcile()
  }

  #live(): Entry[] {
    return [...this.#entries.values()].filter(({ runner }) => !runner.terminating)
  }

  #compareBare(pods: readonly DesiredPod[], missing: Wanted[], surplus: Entry[]): void {
    const wanted = new Map(pods.map((each) => [podKey(each.pod), each]))
    for (const entry of this.#live()) {
      if (entry.owner !== 'pod') continue
      const found = wanted.get(podKey(entry.runner.place.pod))
      if (found?.generation !== entry.generation) surplus.push(entry)
    }
    for (const [key, each] of wanted) {
      // A pod that is replaced starts when the old one of the same name is gone: its removal reconciles again.
      if (!this.#entries.has(key)) missing.push({ ...each, owner: 'pod' })
    }
  }

  #compareDeployment(
    object: DeploymentObject,
    uid: string,
    owner: string,
    missing: Wanted[],
    surplus: Entry[],
  ): void {
    const template = deploymentTemplate(object, uid)
    const mine = this.#live()
      .filter((entry) => entry.owner === owner)
      .map((entry) => ({ hash: entry.generation, ready: entry.runner.ready, entry }))
    const change = rollout(template.hash, replicasOf(object), mine)
    surplus.push(...change.surplus.map(({ entry }) => entry))
    for (let i = 0; i < change.missing; i++) {
      const pod = podOf(template, randomBytes(5))
      missing.push({ pod, owner, generation: template.hash })
    }
  }

  async #create(missing: readonly Wanted[]): Promise<void> {
    const entries = missing.map((wanted) => this.#place(wanted))
    try {
      for (const slot of this.#slots) {
        const links = entries
          .filter((entry) => entry.slot === slot && !isHostNetwork(entry))
          .map(({ runner: { place } }) => ({
            ...place,
            uid: place.pod.metadata.uid ?? '',
          }))
        if (links.length > 0) await applyPlan(planPods(slot.node, links))
      }
    } catch (error) {
      for (const entry of entries) {
        entry.runner.markTerminating()
        void this.#remove(entry)
      }
      throw error
    }
    // The Pod objects are written before the processes start: their first connect is governed by policy.
    this.#options.onChange()
    for (const { runner } of entries) void this.#start(runner)
  }

  #place({ pod: template, uid = randomUUID(), owner, generation }: Wanted): Entry {
    const slot = this.#slotFor(template, owner)
    const { namespace = 'default', name } = template.metadata
    const spec = {
      serviceAccountName: 'default',
      ...template.spec,
      nodeName: slot.node.name,
    }
    const pod = { ...template, metadata: { ...template.metadata, namespace, uid }, spec }
    const host = spec.hostNetwork === true
    const cgroup = podCgroup(slot.node.name, uid)
    makeCgroup(cgroup)
    const place = {
      pod,
      node: slot.node.name,
      netns: host ? slot.node.netns : podNetns(slot.node, namespace, name),
      cgroup,
      addresses: host ? slot.node.addresses : slot.addresses.allocate(),
      hostIP: slot.node.addresses[0],
      labDir: this.#options.labDir,
    }
    const { prober } = slot
    const { nameserver } = this.#options
    const onChange = (): void => this.#notify()
    const runner = new PodRunner({ place, prober, nameserver, onChange })
    const entry = { runner, slot, owner, generation }
    this.#entries.set(podKey(pod), entry)
    return entry
  }

  #slotFor(pod: PodObject, owner: string): Slot {
    const entries = [...this.#entries.values()]
    const loads = this.#slots.map((slot) => {
      const here = entries.filter((entry) => entry.slot === slot)
      const sameOwner =
        owner === 'pod' ? 0 : here.filter((entry) => entry.owner === owner).length
      return { node: slot.node.name, sameOwner, pods: here.length }
    })
    const name = pod.spec.nodeName ?? pickNode(loads)
    const slot = this.#slots.find(({ node }) => node.name === name)
    if (slot === undefined) throw new Error(`no node "${name}"`) // refused by checkRunnable
    return slot
  }

  async #start(runner: PodRunner): Promise<void> {
    const { pod, node } = runner.place
    runner.waitingFor('waits for the agent to know it')
    await this.#options.admit(node, pod.metadata.uid ?? '', runner.name)
    runner.waitingFor('starting')
    try {
      runner.start()
    } catch (error) {
      runner.waitingFor(messageOf(error))
      this.#options.log(`pod ${runner.name}: ${messageOf(error)}`)
    }
  }

  async #remove(entry: Entry): Promise<void> {
    const { runner, slot } = entry
    const { place } = runner
    try {
      await runner.stop(this.#options.source.graceSeconds(place.pod.metadata.uid ?? ''))
      if (!isHostNetwork(entry)) await deleteNetns([place.netns])
      await removeCgroup(place.cgroup)
    } catch (error) {
      this.#options.log(`pod ${runner.name}: ${messageOf(error)}`)
    }
    if (!isHostNetwork(entry)) slot.addresses.release(place.addresses)
    this.#entries.delete(podKey(place.pod))
    this.#notify()
  }

  /** One refresh for all changes of this turn; rollouts and replacements go on from here. */
  #notify(): void {
    this.#changed ??= setImmediate(() => {
      this.#changed = undefined
      this.#options.onChange()
      void this.reconcile()
    })
  }
}

function isHostNetwork({ runner }: Entry): boolean {
  return runner.place.pod.spec.hostNetwork === true
}

function podKey(pod: PodObject): string {
  return `${pod.metadata.namespace ?? 'default'}/${pod.metadata.name}`
}
