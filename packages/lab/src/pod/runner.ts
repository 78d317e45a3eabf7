// SPDX-License-Identifier: Apache-2.0
// One pod: its process, its readiness, its status.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import { podFiles, podLog } from '../paths.ts'
import { checkOf } from '../probe/check.ts'
import { execCheck, type NodeProber } from '../probe/prober.ts'
import { watchReadiness } from '../probe/readiness.ts'
import { Supervised, type Exit } from '../process/supervised.ts'
import type { PodView } from '../object/endpoints.ts'
import type { PodObject } from '../types.ts'
import { containerLaunch, execLaunch, type PodPlace } from './launch.ts'

/** Seconds between SIGTERM and SIGKILL when the pod does not say. Kubernetes has 30; a lab is torn down often. */
const defaultGraceSeconds = 5

export interface PodRunnerOptions {
  readonly place: Omit<PodPlace, 'resolvConf' | 'hosts'>
  readonly prober: NodeProber
  readonly nameserver: () => string
  /** Readiness, phase or restarts changed. */
  readonly onChange: () => void
}

export class PodRunner {
  readonly place: PodPlace
  readonly #options: PodRunnerOptions
  readonly #process: Supervised
  readonly #createdMs = Date.now()
  #probing: AbortController | undefined
  #ready = false
  #terminatingSinceMs: number | undefined
  #reason = 'network is being set up'
  #ended: 'Succeeded' | 'Failed' | undefined

  constructor(options: PodRunnerOptions) {
    const files = podFiles(options.place.pod.metadata.uid ?? '')
    this.place = { ...options.place, resolvConf: files.resolvConf, hosts: files.hosts }
    this.#options = options
    const { namespace = 'default', name } = this.place.pod.metadata
    this.#process = new Supervised({
      launch: () => containerLaunch(this.place),
      logFile: podLog(namespace, name),
      onStart: () => this.#started(),
      onExit: (exit) => this.#exited(exit),
    })
  }

  get name(): string {
    const { namespace = 'default', name } = this.place.pod.metadata
    return `${namespace}/${name}`
  }

  get ready(): boolean {
    return this.#ready
  }

  get terminating(): boolean {
    return this.#terminatingSinceMs !== undefined
  }

  get done(): boolean {
    return this.#ended === 'Succeeded'
  }

  get restarts(): number {
    return this.#process.restarts
  }

  /** Why the pod is not ready, for people. */
  describe(): string {
    const state = this.#process.describe(Date.now())
    if (this.#ready) return state
    if (state.startsWith('running')) return `readiness probe: ${this.#reason}`
    return this.#process.state.kind === 'stopped' ? this.#reason : state
  }

  waitingFor(reason: string): void {
    this.#reason = reason
  }

  /** Starts the process; network, cgroup and the Pod object exist. */
  start(): void {
    if (this.terminating) return
    const { pod, addresses, resolvConf, hosts } = this.place
    const { namespace = 'default', name, uid = '' } = pod.metadata
    mkdirSync(podFiles(uid).dir, { recursive: true })
    writeFileSync(
      resolvConf,
      `search ${namespace}.svc.cluster.local svc.cluster.local cluster.local\n` +
        `nameserver ${this.#options.nameserver()}\noptions ndots:5\n`,
    )
    writeFileSync(
      hosts,
      '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' +
        addresses.map((address) => `${address} ${name}\n`).join(''),
    )
    this.#process.start()
  }

  #started(): void {
    const { pod, addresses } = this.place
    const container = pod.spec.containers[0]
    const probe = container?.readinessProbe
    if (probe === undefined || container === undefined) {
      this.#setReady(true, '')
      return
    }
    this.#reason = 'not answered yet'
    const check = checkOf(probe, container, addresses[0])
    const probing = (this.#probing = new AbortController())
    const ask = (timeoutMs: number) =>
      check.kind === 'exec'
        ? execCheck(execLaunch(this.place, check.command), timeoutMs)
        : this.#options.prober.check(check, timeoutMs)
    const onResult = (ready: boolean, message: string): void =>
      this.#setReady(ready, message)
    watchReadiness({ probe, check: ask, onResult }, probing.signal).catch(
      (error: unknown) => {
        this.#setReady(false, messageOf(error))
      },
    )
  }

  #exited(exit: Exit): boolean {
    this.#probing?.abort()
    const policy = this.place.pod.spec.restartPolicy ?? 'Always'
    const again = policy === 'Always' || (policy === 'OnFailure' && exit.code !== 0)
    if (!again) this.#ended = exit.code === 0 ? 'Succeeded' : 'Failed'
    this.#ready = false
    this.#options.onChange()
    return again
  }

  #setReady(ready: boolean, reason: string): void {
    this.#reason = reason
    if (this.#ready === ready || this.terminating) return
    this.#ready = ready
    this.#options.onChange()
  }

  /** From now on the pod is terminating: endpoints say so before the process hears of it. */
  markTerminating(): void {
    this.#terminatingSinceMs = Date.now()
    this.#probing?.abort()
  }

  /** Ends the process; `graceSeconds` is what the deletion asked for, if it did. */
  async stop(graceSeconds?: number): Promise<void> {
    const { terminationGracePeriodSeconds } = this.place.pod.spec
    const seconds = graceSeconds ?? terminationGracePeriodSeconds ?? defaultGraceSeconds
    await this.#process.stop(seconds * 1000)
    rmSync(podFiles(this.place.pod.metadata.uid ?? '').dir, {
      recursive: true,
      force: true,
    })
  }

  /** The hook before SIGTERM; it is part of the grace period. */
  async #preStop(graceMs: number): Promise<void> {
    const hook = this.place.pod.spec.containers[0]?.lifecycle?.preStop
    if (this.#process.state.kind !== 'running' || hook === undefined) return
    if (hook.sleep !== undefined)
      await sleep(Math.min(hook.sleep.seconds * 1000, graceMs))
    if (hook.exec !== undefined) {
      await execCheck(execLaunch(this.place, hook.exec.command), graceMs)
    }
  }

  view(): PodView {
    const { pod, node, addresses } = this.place
    return { pod, node, addresses, ready: this.#ready, terminating: this.terminating }
  }

  /** The Pod object with its status. */
  object(): PodObject {
    const { pod, addresses, hostIP, node } = this.place
    const state = this.#process.state
    const running = state.kind === 'running'
    const deletedMs = this.#terminatingSinceMs
    const condition = (type: string, value: boolean) => ({
      type,
      status: value ? 'True' : 'False',
    })
    return {
      ...pod,
      metadata: {
        ...pod.metadata,
        creationTimestamp: new Date(this.#createdMs).toISOString(),
        ...(deletedMs === undefined
          ? {}
          : { deletionTimestamp: new Date(deletedMs).toISOString() }),
      },
      spec: { ...pod.spec, nodeName: node },
      status: {
        phase: this.#ended ?? (running || this.restarts > 0 ? 'Running' : 'Pending'),
        podIP: addresses[0],
        podIPs: addresses.map((ip) => ({ ip })),
        hostIP,
        conditions: [
          condition('Ready', this.#ready),
          condition('ContainersReady', this.#ready),
        ],
        containerStatuses: [
          {
            name: pod.spec.containers[0]?.name ?? 'main',
            ready: this.#ready,
            restartCount: this.restarts,
            state: running ? { running: {} } : { waiting: { reason: state.kind } },
          },
        ],
      },
    }
  }
}
