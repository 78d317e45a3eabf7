// SPDX-License-Identifier: Apache-2.0
// The loop around the decisions: watches Mesh, DaemonSet and node pods while this replica leads, and takes one step at a time.
import { parseObject } from '../api/object.ts'
import { messageOf } from '../errors.ts'
import type { EventRecorder } from '../status/events.ts'
import { ApiError } from '../watch/client.ts'
import { Reflector, type ReflectorLimits, type ServerObject } from '../watch/reflector.ts'
import type { Resource } from '../watch/resources.ts'
import {
  decideRemoval,
  decideRollout,
  isWell,
  rolloutLimits,
  type Action,
  type Halt,
  type NodePod,
  type RolloutLimits,
} from './decide.ts'
import { HeldObjects } from './held.ts'
import { InstallApi, installResources, type ApiAccess } from './install-api.ts'
import type { LeavingPlan } from './leaving.ts'
import { LeftOut, type LeftOutOptions } from './left-out.ts'
import { haltedAnnotation, nodeName } from './names.ts'
import {
  annotationsOf,
  nodeDaemonSet,
  revisionIn,
  type Manifest,
  type MeshInstall,
} from './objects.ts'
import { isCleaner, PodWatch, type NodeView } from './pods.ts'
import { conditionOf, type InstallStatus } from './condition.ts'

export interface InstallerOptions extends ReflectorLimits, LeftOutOptions {
  readonly client: ApiAccess
  readonly view: () => NodeView
  /** Told of what needs a person. */
  readonly events?: Pick<EventRecorder, 'warn'>
  readonly limits?: Partial<RolloutLimits>
  /** How often time alone is reason to look; default 5 000 ms. */
  readonly tickMs?: number
}

const changeDelayMs = 50

/** Installs, upgrades and removes what runs on nodes; idle until `lead(true)`. */
export class Installer {
  /** Since the start, for metrics: pods replaced, roll-outs halted, steps that failed and were tried again. */
  readonly counts = { replaced: 0, halted: 0, failed: 0 }
  readonly #options: InstallerOptions
  readonly #limits: RolloutLimits
  readonly #api: InstallApi
  readonly #held = new Map<string, Map<string, ServerObject>>()
  #pods = new PodWatch()
  #leftOut: LeftOut
  #reflectors: Reflector[] = []
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #isLeader = false
  #removingSince: number | undefined
  /** uid of the Mesh that we let go: until the watch says that it is gone, nothing is made for it again. */
  #released: unknown

  constructor(options: InstallerOptions) {
    this.#options = options
    this.#limits = { ...rolloutLimits, ...options.limits }
    this.#api = new InstallApi(options.client, options.namespace)
    this.#leftOut = this.#newLeftOut()
  }

  #newLeftOut(): LeftOut {
    return new LeftOut(this.#api, this.#options, this.#limits.maxRestarts)
  }

  lead(isLeader: boolean): void {
    if (this.#isLeader === isLeader) return
    this.#isLeader = isLeader
    if (!isLeader) {
      void this.#stop()
      return
    }
    const { client, namespace } = this.#options
    this.#pods = new PodWatch()
    this.#leftOut = this.#newLeftOut()
    this.#removingSince = undefined
    this.#reflectors = installResources(namespace).map(
      (resource) => new Reflector(client, resource, this.#sink(resource), this.#options),
    )
    for (const reflector of this.#reflectors) reflector.start()
  }

  /** Something that `view` shows has changed. */
  changed(): void {
    if (this.#isLeader) this.#soon(changeDelayMs)
  }

  async close(): Promise<void> {
    this.#isLeader = false
    await this.#stop()
    await this.#running
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const reflectors = this.#reflectors
    this.#reflectors = []
    await Promise.all(reflectors.map((reflector) => reflector.close()))
  }

  #sink({ kind }: Resource): HeldObjects<ServerObject> {
    const held = new HeldObjects(
      (object) => object,
      () => this.changed(),
    )
    this.#held.set(kind, held.values)
    return held
  }

  /** One look at a time; changes meanwhile are seen by the next. */
  #soon(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#running = this.#running.then(() => this.#turn())
    }, ms)
    this.#timer.unref()
  }

  async #turn(): Promise<void> {
    if (!this.#isLeader) return
    const isComplete = this.#reflectors.every(({ synced }) => synced)
    try {
      if (isComplete) await this.#step()
    } catch (error) {
      this.counts.failed++
      // Somebody wrote between: the watch will say what.
      const isConflict = error instanceof ApiError && error.status === 409
      if (!isConflict)
        this.#options.log.warn({ error: messageOf(error) }, 'installation is held up')
    }
    if (this.#isLeader) this.#soon(this.#options.tickMs ?? 5_000)
  }

  async #step(): Promise<void> {
    const mesh = this.#held.get('Mesh')?.get('default')
    if (mesh === undefined || mesh.metadata['uid'] === this.#released) return
    const isRemoval = mesh.metadata['deletionTimestamp'] !== undefined
    if (isRemoval && !this.#api.holds(mesh)) return
    const spec = specOf(mesh)
    if (spec === undefined) return // Accepted says why
    if (!isRemoval) await this.#api.hold(mesh)
    const { namespace, agentImage, proxyImage } = this.#options
    const wanted = nodeDaemonSet(spec, { namespace, agentImage, proxyImage, isRemoval })
    const daemonSet = await this.#api.ensure(
      wanted,
      this.#held.get('DaemonSet')?.get(nodeName),
    )
    const pods = this.#look(isRemoval)
    const revision = revisionIn(wanted)
    const state = { revision, pods, ...observed(daemonSet), halt: haltOf(daemonSet) }
    if (isRemoval) await this.#remove(mesh, state)
    else
      await this.#roll(
        mesh,
        state,
        await this.#leftOut.clean(spec, daemonSet, pods, this.#podObjects()),
      )
  }

  #look(isRemoval: boolean): NodePod[] {
    const { maxRestarts } = this.#limits
    const options = { isRemoval, maxRestarts }
    return this.#pods.look(
      this.#podObjects().filter((object) => !isCleaner(object)),
      this.#options.view(),
      options,
      performance.now(),
    )
  }

  #podObjects(): ServerObject[] {
    return [...(this.#held.get('Pod')?.values() ?? [])]
  }

  async #roll(
    mesh: ServerObject,
    state: State,
    leaving: LeavingPlan['left'],
  ): Promise<void> {
    this.#removingSince = undefined
    await this.#api.ensureExtras()
    const action = decideRollout(state, this.#limits)
    await this.#act(action)
    const [isRemoval, isLate] = [false, false]
    await this.#tell(mesh, { action, isRemoval, isLate, ...countOf(state), leaving })
  }

  async #remove(mesh: ServerObject, state: State): Promise<void> {
    this.#removingSince ??= performance.now()
    await this.#leftOut.end(this.#podObjects())
    const nodes = new Set(this.#options.view().nodes)
    const action = decideRemoval({ ...state, nodes })
    if (action.kind === 'done') {
      await this.#api.removeAll()
      await this.#api.release(mesh)
      this.#released = mesh.metadata['uid']
      this.#options.log.info('nothing of the mesh is left on any node')
      return
    }
    await this.#act(action)
    const isLate = performance.now() - this.#removingSince >= this.#limits.removalMs
    await this.#tell(mesh, { action, isRemoval: true, isLate, ...countOf(state) })
  }

  async #act(action: Action): Promise<void> {
    if (action.kind === 'replace') {
      for (const pod of action.pods) {
        this.#options.log.info({ node: pod.node, pod: pod.name }, 'replacing')
        await this.#api.deletePod(pod)
        this.counts.replaced++
      }
    } else if (action.kind === 'halt' && action.isNew) {
      this.counts.halted++
      this.#options.log.error({ ...action.halt }, 'roll-out halted')
      await this.#api.annotate({ [haltedAnnotation]: JSON.stringify(action.halt) })
    }
  }

  async #tell(mesh: ServerObject, status: InstallStatus): Promise<void> {
    const condition = conditionOf(status)
    const { reason, message } = condition
    await this.#api.tell(mesh, status.nodes, condition)
    if (reason !== 'Halted' && reason !== 'UninstallLate') return
    const { name, uid } = mesh.metadata
    const regarding = {
      ...{ apiVersion: 'mesh.pillion.dev/v1alpha1', kind: 'Mesh', namespace: '', name },
      uid: String(uid),
    }
    await this.#options.events?.warn(regarding, reason, message)
  }
}

interface State {
  readonly revision: string
  readonly isObserved: boolean
  readonly total: number
  readonly pods: readonly NodePod[]
  readonly halt: Halt | undefined
}

function countOf({ pods, total, revision }: State): Pick<InstallStatus, 'nodes'> {
  const ready = pods.filter((pod) => pod.revision === revision && isWell(pod)).length
  return { nodes: { ready, total } }
}

function specOf(mesh: ServerObject): MeshInstall | undefined {
  const raw = { ...mesh, apiVersion: 'mesh.pillion.dev/v1alpha1', kind: 'Mesh' }
  const { object } = parseObject('Mesh', raw, '')
  return object?.kind === 'Mesh' ? object.spec : undefined
}

function observed(daemonSet: ServerObject | Manifest): {
  readonly isObserved: boolean
  readonly total: number
} {
  const status = (daemonSet['status'] ?? {}) as {
    observedGeneration?: number
    desiredNumberScheduled?: number
  }
  const generation = daemonSet.metadata['generation']
  return {
    isObserved: status.observedGeneration === generation,
    total: status.desiredNumberScheduled ?? 0,
  }
}

function haltOf(daemonSet: ServerObject | Manifest): Halt | undefined {
  try {
    const halt = JSON.parse(
      annotationsOf(daemonSet)[haltedAnnotation] ?? '',
    ) as Partial<Halt>
    const { revision = '', node = '', message = '' } = halt
    return { revision, node, message }
  } catch {
    return undefined // there is none, or somebody edited it away
  }
}
