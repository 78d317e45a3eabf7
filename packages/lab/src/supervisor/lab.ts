// SPDX-License-Identifier: Apache-2.0
// The lab as a whole: nodes, objects, pods, mesh, and how far it is on its way up.
import { setTimeout as sleep } from 'node:timers/promises'
import { LabError, messageOf } from '../errors.ts'
import { loadManifests, type Loaded } from '../manifest/load.ts'
import { Mesh } from '../mesh/mesh.ts'
import { nodeInfo, type NodeInfo } from '../net/addresses.ts'
import { applyPlan, makeRouter } from '../net/apply.ts'
import { planNodes } from '../net/plan.ts'
import { ObjectStore } from '../object/store.ts'
import { nodeCgroup, paths, podLog } from '../paths.ts'
import type { PodRunner } from '../pod/runner.ts'
import { makeCgroup } from '../process/cgroup.ts'
import { tail } from '../process/log.ts'
import { builtinObjects, dnsAddress, nodeObject } from './builtin.ts'
import { EndpointsController } from './endpoints.ts'
import { Inventory, type Applied } from './inventory.ts'
import { PodManager } from './pods.ts'

const readyPollMs = 50
const agentStartMs = 15_000

export interface LabOptions {
  readonly dir: string
  readonly nodes: number
  readonly mesh: boolean
  readonly timeoutMs: number
  readonly log: (message: string) => void
}

/** How far `up` is. */
export interface Progress {
  readonly phase: 'network' | 'mesh' | 'pods' | 'configuration' | 'up' | 'failed'
  readonly message: string
  /** Why it failed, one reason a line. */
  readonly reasons: readonly string[]
}

export class Lab {
  readonly nodes: readonly NodeInfo[]
  readonly store: ObjectStore
  readonly inventory: Inventory
  readonly pods: PodManager
  #mesh: Mesh | undefined
  readonly #options: LabOptions
  readonly #endpoints: EndpointsController
  progress: Progress = { phase: 'network', message: 'network namespaces', reasons: [] }

  constructor(options: LabOptions) {
    this.#options = options
    this.nodes = Array.from({ length: options.nodes }, (_, i) => nodeInfo(i + 1))
    this.store = new ObjectStore(paths.objects, paths.temporary)
    this.inventory = new Inventory(
      this.store,
      this.nodes.map(({ name }) => name),
    )
    this.#endpoints = new EndpointsController(this.store)
    this.#mesh = options.mesh ? new Mesh(this.nodes, options.log) : undefined
    this.pods = new PodManager({
      nodes: this.nodes,
      labDir: options.dir,
      nameserver: () => this.#nameserver(),
      desired: () => this.inventory,
      onChange: () => this.refresh(),
      admit: (node, uid, name) => this.#mesh?.admit(node, uid, name) ?? Promise.resolve(),
      log: options.log,
    })
  }

  get options(): LabOptions {
    return this.#options
  }

  /** Undefined when there is none (yet). */
  get mesh(): Mesh | undefined {
    return this.#mesh
  }

  /** Starts the mesh in a lab that came up without: running pods are meshed from their next connect on. */
  async startMesh(): Promise<void> {
    if (this.#mesh !== undefined)
      throw new LabError('already-running', 'the lab has its mesh already')
    const mesh = new Mesh(this.nodes, this.#options.log)
    this.#mesh = mesh
    await mesh.start()
    await this.#waitForAcks(mesh, Date.now() + this.#options.timeoutMs)
    this.#at('up', 'with mesh')
  }

  /** Brings everything up; `progress` says how far it is and how it ended. */
  async start(): Promise<void> {
    const deadline = Date.now() + this.#options.timeoutMs
    try {
      // Read and validate before anything is made on the host.
      const builtin = builtinObjects().map((object): Loaded => ({
        object,
        from: 'built in',
      }))
      const loaded = loadManifests(this.#options.dir)
      this.inventory.apply([...builtin, ...loaded])
      await this.#startNodes()
      this.refresh()
      if (this.mesh !== undefined) {
        this.#at('mesh', 'operator, agents and proxies')
        await this.mesh.start()
        await this.mesh.waitForAgents(Math.min(agentStartMs, this.#options.timeoutMs))
      }
      this.#at('pods', `0 of ${this.pods.wantedCount} pods ready`)
      await this.pods.reconcile()
      await this.#waitForPods(deadline)
      if (this.mesh !== undefined) await this.#waitForAcks(this.mesh, deadline)
      this.#at('up', `${this.pods.runners.length} pods on ${this.nodes.length} nodes`)
    } catch (error) {
      const reasons = error instanceof NotReady ? error.reasons : []
      this.progress = { phase: 'failed', message: messageOf(error), reasons }
    }
  }

  #at(phase: Progress['phase'], message: string): void {
    if (this.progress.phase !== phase) this.#options.log(`${phase}: ${message}`)
    this.progress = { phase, message, reasons: [] }
  }

  async #startNodes(): Promise<void> {
    await applyPlan(planNodes(this.nodes))
    for (const node of this.nodes) {
      await makeRouter(node)
      for (const name of ['kubepods', 'system/exec']) {
        makeCgroup(`${nodeCgroup(node.name)}/${name}`)
      }
      this.store.put(nodeObject(node))
    }
  }

  async #waitForPods(deadline: number): Promise<void> {
    for (;;) {
      const { runners, wantedCount } = this.pods
      const waiting = runners.filter((runner) => !runner.ready && !runner.done)
      const ready = runners.length - waiting.length
      if (waiting.length === 0 && runners.length >= wantedCount) return
      this.#at('pods', `${ready} of ${wantedCount} pods ready`)
      if (Date.now() > deadline) {
        throw new NotReady(
          `${ready} of ${wantedCount} pods are ready after ${this.#options.timeoutMs / 1000} s`,
          [...waiting.map(explain), ...((await this.mesh?.problems()) ?? [])],
        )
      }
      await sleep(readyPollMs)
    }
  }

  async #waitForAcks(mesh: Mesh, deadline: number): Promise<void> {
    for (;;) {
      const problems = await mesh.problems()
      if (problems.length === 0) return
      this.#at('configuration', problems[0] ?? '')
      if (Date.now() > deadline) {
        throw new NotReady(
          `the configuration is not in force everywhere after ${this.#options.timeoutMs / 1000} s`,
          problems,
        )
      }
      await sleep(readyPollMs)
    }
  }

  /** Services and endpoints anew, from the pods as they are. */
  refresh(): void {
    this.#endpoints.refresh(this.inventory.services, this.pods.runners)
  }

  apply(path: string): Applied[] {
    return this.#changed(this.inventory.apply(loadManifests(path)))
  }

  /** Deletes what a file names. Objects that do not exist are an error, after the others are deleted. */
  deleteFile(path: string): Applied[] {
    const missing: string[] = []
    const deleted = loadManifests(path).flatMap(({ object: { kind, metadata } }) => {
      try {
        return this.inventory.delete(kind, metadata.namespace, metadata.name)
      } catch (error) {
        missing.push(messageOf(error))
        return []
      }
    })
    this.#changed(deleted)
    if (missing.length > 0) throw new LabError('not-found', missing.join('\n'))
    return deleted
  }

  deleteOne(kind: string, namespace: string | undefined, name: string): Applied[] {
    const pod = this.pods.runners.find(
      (runner) => runner.name === `${namespace ?? ''}/${name}`,
    )
    const isManaged =
      pod !== undefined && pod.place.pod.metadata.ownerReferences !== undefined
    if (kind.toLowerCase() === 'pod' && isManaged) {
      // A pod of a Deployment: ends, and another one takes its place.
      this.pods.evict(pod)
      return [{ kind: 'Pod', namespace: namespace ?? '', name, action: 'deleted' }]
    }
    return this.#changed(this.inventory.delete(kind, namespace, name))
  }

  #changed(applied: Applied[]): Applied[] {
    this.refresh()
    void this.pods.reconcile()
    return applied
  }

  /** Without mesh, cluster addresses do not exist: pods ask the DNS pod itself. */
  #nameserver(): string {
    if (this.#options.mesh) return dnsAddress
    const dns = this.pods.runners.find(({ place: { pod } }) => {
      return (
        pod.metadata.namespace === 'kube-system' &&
        pod.metadata.labels?.['k8s-app'] === 'kube-dns'
      )
    })
    return dns?.place.addresses[0] ?? dnsAddress
  }
}

/** The time is up; the message counts, the reasons explain. */
class NotReady extends LabError {
  readonly reasons: readonly string[]

  constructor(message: string, reasons: readonly string[]) {
    super('timeout', message)
    this.reasons = reasons
  }
}

function explain(runner: PodRunner): string {
  const { namespace = 'default', name } = runner.place.pod.metadata
  const lines = tail(podLog(namespace, name), 3).map((line) => `\n    ${line}`)
  return `pod ${runner.name} on ${runner.place.node}: ${runner.describe()}${lines.join('')}`
}
