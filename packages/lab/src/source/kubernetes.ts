// SPDX-License-Identifier: Apache-2.0
// An API server: the lab is kubelet of its nodes, EndpointSlice controller, scheduler and deployment controller there, as far
// as the server has none of its own. People use kubectl; objects outlive the lab.
import { chownSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectApi, type ApiClient } from '@pillion/operator'
import { LabError } from '../errors.ts'
import { checkRunnable } from '../manifest/check.ts'
import { operatorUser } from '../mesh/launch.ts'
import { runDir } from '../paths.ts'
import { builtinObjects } from '../supervisor/builtin.ts'
import type { KubeObject, PodObject, ServiceObject } from '../types.ts'
import { Cache } from './cache.ts'
import { hasLeader, heartbeat } from './lease.ts'
import type { DesiredPod, ObjectSource } from './source.ts'
import { publishSlices } from './slices.ts'
import { nodeInfo, podStatus, refusedStatus } from './status.ts'
import { isLive, Workloads } from './workloads.ts'
import { Writer } from './writer.ts'

const followed = [
  'Pod',
  'Service',
  'Deployment',
  'EndpointSlice',
  'Namespace',
  'Node',
] as const
const syncMs = 15_000
const heartbeatMs = 10_000
const operatorNamespace = 'pillion-system'
const namespaces = ['default', 'kube-system', 'kube-node-lease', operatorNamespace]

export interface KubernetesSourceOptions {
  readonly kubeconfig: string
  readonly nodes: readonly string[]
  readonly log: (message: string) => void
  /** Where the operator finds its copy; below the run directory. */
  readonly copy?: string
}

export class KubernetesSource implements ObjectSource {
  readonly edits = undefined
  readonly deployments = []
  readonly operatorArguments: readonly string[]
  readonly #options: KubernetesSourceOptions
  readonly #copy: string
  #client: ApiClient | undefined
  #parts: { cache: Cache; writer: Writer; workloads: Workloads } | undefined
  #slicesAreOurs = true
  #onChange: (() => void) | undefined
  #changed: NodeJS.Immediate | undefined
  #heart: NodeJS.Timeout | undefined
  readonly #nodeObjects = new Map<string, KubeObject>()

  constructor(options: KubernetesSourceOptions) {
    this.#options = options
    this.#copy = options.copy ?? join(runDir, 'kubeconfig')
    this.operatorArguments = [
      ...['--source', 'kubernetes', '--kubeconfig', this.#copy],
      ...['--namespace', operatorNamespace, '--pod-name', 'lab'],
    ]
  }

  async start(): Promise<void> {
    const { kubeconfig, nodes, log } = this.#options
    const client = (this.#client = await connectApi(kubeconfig))
    this.#copyKubeconfig()
    const writer = new Writer(client, log)
    const cache = new Cache(client, followed, () => this.#notify())
    // Known from here on, so that a lab that does not come up closes what it opened.
    const manager = await hasLeader(client, 'kube-controller-manager')
    const scheduler = await hasLeader(client, 'kube-scheduler')
    log(
      `the API server has ${manager ? '' : 'no '}controllers, ${scheduler ? '' : 'no '}scheduler`,
    )
    this.#slicesAreOurs = !manager
    const workloads = new Workloads({
      ...{ cache, writer, nodes, log, schedules: !scheduler, expands: !manager },
    })
    this.#parts = { cache, writer, workloads }
    await cache.sync(syncMs)
    const present = new Set(cache.list('Namespace').map(({ metadata }) => metadata.name))
    for (const name of namespaces) {
      if (present.has(name)) continue
      await writer.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    }
    for (const object of builtinObjects(false)) {
      if (object.kind === 'Namespace') continue
      const kept = await writer.apply(object)
      if (kept.kind === 'Service') cache.put('Service', kept)
      if (kept.kind === 'Deployment') cache.put('Deployment', kept)
    }
  }

  /** The operator runs as another user, who cannot read the caller's files. */
  #copyKubeconfig(): void {
    const text = readFileSync(this.#options.kubeconfig, 'utf8')
    if (
      /^\s*(certificate-authority|client-certificate|client-key|tokenFile):/m.test(text)
    ) {
      const hint = 'kubectl config view --raw --flatten --minify'
      const message = `${this.#options.kubeconfig} refers to other files; make one of it: ${hint}`
      throw new LabError('usage', message)
    }
    writeFileSync(this.#copy, text, { mode: 0o400 })
    if (process.getuid?.() === 0) chownSync(this.#copy, operatorUser, 0)
  }

  follow(onChange: () => void): void {
    this.#onChange = onChange
    this.#notify()
  }

  async close(): Promise<void> {
    clearInterval(this.#heart)
    clearImmediate(this.#changed)
    this.#onChange = undefined
    this.#parts?.workloads.close()
    this.#parts?.writer.close()
    await this.#parts?.cache.close()
    this.#client?.close()
  }

  /** One look for all events of this turn. */
  #notify(): void {
    if (this.#onChange === undefined) return
    this.#changed ??= setImmediate(() => {
      this.#changed = undefined
      void this.#parts?.workloads.sync()
      this.#onChange?.()
    })
  }

  get dnsAddress(): string {
    const dns = this.#parts?.cache.get('Service', 'kube-system', 'kube-dns')
    return (dns as ServiceObject | undefined)?.spec.clusterIP ?? ''
  }

  /** Pods that are bound to our nodes. Those that cannot run are told so, and are not among them. */
  get pods(): DesiredPod[] {
    const mine = this.#mine().filter(isLive)
    return mine.flatMap((pod) => {
      const { uid = '' } = pod.metadata
      if (this.#refuse(pod)) return []
      return [{ pod: withoutStatus(pod), uid, generation: uid }]
    })
  }

  get wantedCount(): number {
    const { cache, workloads } = this.#started()
    const bare = (cache.list('Pod') as PodObject[]).filter(
      (pod) => isLive(pod) && !workloads.isExpanded(pod),
    )
    return workloads.deployments.reduce(
      (sum, { spec }) => sum + (spec.replicas ?? 1),
      bare.length,
    )
  }

  get services(): ServiceObject[] {
    return this.#started().cache.list('Service') as ServiceObject[]
  }

  list(kind?: string): KubeObject[] {
    const all = this.#started().cache.all()
    if (kind === undefined) return all
    return all.filter((object) => object.kind.toLowerCase() === kind.toLowerCase())
  }

  putNode(node: KubeObject): void {
    const { writer } = this.#started()
    const { status, ...rest } = node
    this.#nodeObjects.set(node.metadata.name, node)
    writer.put(`node/${node.metadata.name}`, JSON.stringify(node), async () => {
      await writer.apply(rest)
      await writer.mergeStatus(node, nodeStatus(status as object))
    })
    this.#heart ??= setInterval(() => this.#beat(), heartbeatMs)
    this.#beat()
  }

  #beat(): void {
    const { writer } = this.#started()
    for (const name of this.#nodeObjects.keys()) {
      const lease = heartbeat(name, new Date())
      writer.put(`lease/${name}`, JSON.stringify(lease), () => writer.apply(lease))
    }
  }

  publish(objects: readonly KubeObject[]): void {
    const pods = objects.filter(({ kind }) => kind === 'Pod') as PodObject[]
    this.#publishPods(pods)
    if (!this.#slicesAreOurs) return
    const { cache, writer } = this.#started()
    const slices = objects.filter(({ kind }) => kind === 'EndpointSlice')
    publishSlices(cache, writer, slices)
  }

  #publishPods(pods: readonly PodObject[]): void {
    const { writer } = this.#started()
    const running = new Set<string>()
    for (const pod of pods) {
      const { uid = '' } = pod.metadata
      running.add(uid)
      const status = podStatus(pod)
      writer.put(`pod/${uid}`, JSON.stringify(status), () =>
        writer.mergeStatus(pod, status),
      )
    }
    for (const pod of this.#mine()) {
      const { uid = '', deletionTimestamp } = pod.metadata
      // Nothing of it runs any more, or ever ran: this is what makes the object go away.
      if (deletionTimestamp === undefined || running.has(uid)) continue
      writer.put(`gone/${uid}`, 'gone', () => writer.delete(pod, true))
    }
    this.#forgetGone()
  }

  /** What is remembered of pods that are gone. */
  #forgetGone(): void {
    const { cache, writer } = this.#started()
    const uids = new Set(cache.list('Pod').map(({ metadata }) => metadata.uid))
    for (const prefix of ['pod/', 'gone/', 'refused/']) {
      for (const key of writer.keys(prefix)) {
        if (!uids.has(key.slice(prefix.length))) writer.forget(key)
      }
    }
  }

  graceSeconds(uid: string): number | undefined {
    const pod = this.#mine().find(({ metadata }) => metadata.uid === uid)
    return pod?.metadata.deletionGracePeriodSeconds
  }

  #mine(): PodObject[] {
    const pods = this.#started().cache.list('Pod') as PodObject[]
    return pods.filter(({ spec }) => this.#options.nodes.includes(spec.nodeName ?? ''))
  }

  #refuse(pod: PodObject): boolean {
    const { writer } = this.#started()
    const problems = checkRunnable([{ object: pod, from: 'lab' }], this.#options.nodes)
    if (problems.length === 0) return false
    const status = refusedStatus(problems.join('\n'))
    writer.put(`refused/${pod.metadata.uid}`, JSON.stringify(status), () =>
      writer.mergeStatus(pod, status),
    )
    return true
  }

  #started() {
    if (this.#parts === undefined) throw new Error('the source was not started')
    return this.#parts
  }
}

/** What runs is told by what runs, not by what was read. */
function withoutStatus(pod: PodObject): PodObject {
  const { status: _, ...rest } = pod
  return rest
}

function nodeStatus(status: object): object {
  return {
    ...status,
    nodeInfo: nodeInfo(),
  }
}
