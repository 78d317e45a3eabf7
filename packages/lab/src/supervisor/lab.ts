// SPDX-License-Identifier: Apache-2.0
// The lab as a whole: nodes, objects, pods, mesh, and how far it is on its way up.
import { setTimeout as sleep } from 'node:timers/promises'
import { LabError, messageOf, type LabErrorCode } from '../errors.ts'
import { Mesh } from '../mesh/mesh.ts'
import { nodeInfo, type NodeInfo } from '../net/addresses.ts'
import { applyPlan, makeRouter } from '../net/apply.ts'
import { planNodes } from '../net/plan.ts'
import { nodeCgroup, podLog } from '../paths.ts'
import type { SupervisorOptions } from '../options.ts'
import type { PodRunner } from '../pod/runner.ts'
import { makeCgroup } from '../process/cgroup.ts'
import { tail } from '../process/log.ts'
import { DirectorySource } from '../source/directory.ts'
import { KubernetesSource } from '../source/kubernetes.ts'
import type { Applied, Edits, ObjectSource } from '../source/source.ts'
import { nodeObject } from './builtin.ts'
import { EndpointsController } from './endpoints.ts'
import { PodManager } from './pods.ts'

const readyPollMs = 50
const agentStartMs = 15_000

export interface LabOptions extends SupervisorOptions {
  readonly log: (message: string) => void
}

/** How far `up` is. */
export interface Progress {
  readonly phase: 'network' | 'mesh' | 'pods' | 'configuration' | 'up' | 'failed'
  readonly message: string
  /** Why it failed, one reason a line. */
  readonly reasons: readonly string[]
  /** What kind of failure it was. */
  readonly code?: LabErrorCode
}

export class Lab {
  readonly nodes: readonly NodeInfo[]
  readonly source: ObjectSource
  readonly pods: PodManager
  #mesh: Mesh | undefined
  readonly #options: LabOptions
  readonly #endpoints: EndpointsController
  progress: Progress = { phase: 'network', message: 'network namespaces', reasons: [] }

  constructor(options: LabOptions) {
    this.#options = options
    this.nodes = Array.from({ length: options.nodes }, (_, i) => nodeInfo(i + 1))
    this.source = sourceOf(
      options,
      this.nodes.map(({ name }) => name),
    )
    this.#endpoints = new EndpointsController(this.source)
    this.#mesh = options.mesh ? this.#newMesh() : undefined
    this.pods = new PodManager({
      nodes: this.nodes,
      labDir: options.dir,
      nameserver: () => this.#nameserver(),
      source: this.source,
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
    const mesh = this.#newMesh()
    this.#mesh = mesh
    await mesh.start()
    await this.#waitForAcks(mesh, Date.now() + this.#options.timeoutMs)
    this.#at('up', 'with mesh')
  }

  #newMesh(): Mesh {
    const { log } = this.#options
    return new Mesh(this.nodes, this.source.operatorArguments, this.#options, log)
  }

  /** Brings everything up; `progress` says how far it is and how it ended. */
  async start(): Promise<void> {
    const deadline = Date.now() + this.#options.timeoutMs
    try {
      // Read and validate before anything is made on the host.
      await this.source.start()
      await this.#startNodes()
      this.refresh()
      if (this.mesh !== undefined) {
        this.#at('mesh', 'operator, agents and proxies')
        await this.mesh.start()
        await this.mesh.waitForAgents(Math.min(agentStartMs, this.#options.timeoutMs))
      }
      this.#at('pods', `0 of ${this.source.wantedCount} pods ready`)
      this.refresh()
      this.source.follow(() => {
        this.refresh()
        void this.pods.reconcile()
      })
      await this.pods.reconcile()
      await this.#waitForPods(deadline)
      if (this.mesh !== undefined) await this.#waitForAcks(this.mesh, deadline)
      this.#at('up', `${this.pods.runners.length} pods on ${this.nodes.length} nodes`)
    } catch (error) {
      const reasons = error instanceof NotReady ? error.reasons : []
      const code = error instanceof LabError ? error.code : 'host'
      this.progress = { phase: 'failed', message: messageOf(error), reasons, code }
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
      this.source.putNode(nodeObject(node))
    }
  }

  async #waitForPods(deadline: number): Promise<void> {
    for (;;) {
      const { runners } = this.pods
      const { wantedCount } = this.source
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
    this.#endpoints.refresh(this.pods.runners)
  }

  /** Changes of objects. Throws a LabError where that is not the lab's to do. */
  get edits(): Edits {
    if (this.source.edits !== undefined) return this.source.edits
    const message = 'the objects of this lab are in an API server: use kubectl'
    throw new LabError('usage', message)
  }

  deleteOne(kind: string, namespace: string | undefined, name: string): Applied[] {
    const { edits } = this
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
    return edits.deleteOne(kind, namespace, name)
  }

  /** Without mesh, cluster addresses do not exist: pods ask the DNS pod itself. */
  #nameserver(): string {
    if (this.#options.mesh) return this.source.dnsAddress
    const dns = this.pods.runners.find(({ place: { pod } }) => {
      return (
        pod.metadata.namespace === 'kube-system' &&
        pod.metadata.labels?.['k8s-app'] === 'kube-dns'
      )
    })
    return dns?.place.addresses[0] ?? this.source.dnsAddress
  }
}

function sourceOf(options: LabOptions, nodes: readonly string[]): ObjectSource {
  const { dir, kubeconfig, log } = options
  if (kubeconfig === undefined) return new DirectorySource(dir, nodes)
  return new KubernetesSource({ kubeconfig, nodes, log })
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
