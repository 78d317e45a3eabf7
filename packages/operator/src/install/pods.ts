// SPDX-License-Identifier: Apache-2.0
// Node pods as the API server shows them, joined with what their processes have acknowledged, and with how long it has been so.
import type { SubscriberStatus } from '../publish/publisher.ts'
import type { ServerObject } from '../watch/reflector.ts'
import { isWell, type NodePod } from './decide.ts'
import type { Cleaner } from './leaving.ts'
import { cleanerName } from './names.ts'
import { revisionIn } from './objects.ts'

/** What the operator knows of its nodes. */
export interface NodeView {
  /** Latest version that was published. */
  readonly version: number
  readonly subscribers: readonly SubscriberStatus[]
  readonly nodes: readonly string[]
}

interface ContainerStatus {
  readonly name?: string
  readonly restartCount?: number
  readonly ready?: boolean
  readonly lastState?: { readonly terminated?: { readonly message?: string } }
}

interface PodObject {
  readonly spec?: { readonly nodeName?: string }
  readonly status?: {
    readonly phase?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    readonly containerStatuses?: readonly ContainerStatus[]
    readonly initContainerStatuses?: readonly ContainerStatus[]
  }
}

interface Seen {
  readonly at: number
  /** Version that was the latest when the pod appeared: what it must hold. */
  readonly version: number
  wellSince: number | undefined
}

/** Remembers since when. Times are of one monotonic clock, in milliseconds. */
export class PodWatch {
  readonly #seen = new Map<string, Seen>()

  /** `isRemoval`: these pods have no processes that subscribe. */
  look(
    objects: Iterable<ServerObject>,
    view: NodeView,
    options: { readonly isRemoval: boolean; readonly maxRestarts: number },
    nowMs: number,
  ): NodePod[] {
    const uids = new Set<string>()
    const pods: NodePod[] = []
    for (const object of objects) {
      const uid = String(object.metadata['uid'] ?? '')
      uids.add(uid)
      const seen = this.#seen.get(uid) ?? {
        at: nowMs,
        version: view.version,
        wellSince: undefined,
      }
      this.#seen.set(uid, seen)
      const subscribed = options.isRemoval ? [] : troubles(nodeOf(object), seen, view)
      const pod: NodePod = {
        name: object.metadata.name,
        uid,
        node: nodeOf(object),
        revision: revisionIn(object),
        isDeleting: object.metadata['deletionTimestamp'] !== undefined,
        isReady: isReady(object),
        trouble: subscribed[0],
        failure: failureOf(object, view, options),
        wellMs: 0,
        seenMs: nowMs - seen.at,
      }
      seen.wellSince = isWell(pod) ? (seen.wellSince ?? nowMs) : undefined
      pods.push({ ...pod, wellMs: nowMs - (seen.wellSince ?? nowMs) })
    }
    for (const uid of this.#seen.keys()) if (!uids.has(uid)) this.#seen.delete(uid)
    return pods
  }
}

/** Whether it is a pod that cleans a node that was left out, and none of the DaemonSet. */
export function isCleaner({ metadata }: ServerObject): boolean {
  const labels = metadata['labels'] as Readonly<Record<string, string>> | undefined
  return labels?.['app.kubernetes.io/name'] === cleanerName
}

export function cleanerOf(object: ServerObject, maxRestarts: number): Cleaner {
  const { phase } = (object as PodObject).status ?? {}
  const isLeaving = object.metadata['deletionTimestamp'] !== undefined
  return {
    name: object.metadata.name,
    uid: String(object.metadata['uid'] ?? ''),
    node: nodeOf(object),
    revision: revisionIn(object),
    state: isLeaving
      ? 'leaving'
      : phase === 'Succeeded'
        ? 'done'
        : phase === 'Failed'
          ? 'dead'
          : 'working',
    failure: containerFailure(object, maxRestarts),
  }
}

const nodeOf = (object: ServerObject): string =>
  (object as PodObject).spec?.nodeName ?? ''

function isReady(object: ServerObject): boolean {
  const conditions = (object as PodObject).status?.conditions ?? []
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
}

/**
 * A process of another contract version is refused when it says hello, so it never connects. The latest version of the whole
 * mesh would never do as the measure: in a busy cluster there is always a later one.
 */
function troubles(node: string, { version }: Seen, { subscribers }: NodeView): string[] {
  return (['agent', 'proxy'] as const).flatMap((role) => {
    const found = subscribers.filter((each) => each.node === node && each.role === role)
    const connected = found.filter((each) => each.connected)
    if (connected.length === 0) return [`its ${role} is not connected`]
    const holds = connected.some(
      ({ ackedVersion, current }) => current || ackedVersion >= version,
    )
    return holds ? [] : [`its ${role} has not acknowledged the configuration`]
  })
}

function failureOf(
  object: ServerObject,
  { subscribers }: NodeView,
  {
    isRemoval,
    maxRestarts,
  }: { readonly isRemoval: boolean; readonly maxRestarts: number },
): string | undefined {
  const ended = containerFailure(object, maxRestarts)
  if (ended !== undefined || isRemoval) return ended
  const refusal = subscribers.find(
    ({ node, connected, nack }) => node === nodeOf(object) && connected && nack,
  )
  return refusal && `its ${refusal.role} refused: ${refusal.nack?.reason ?? ''}`
}

function containerFailure(object: ServerObject, maxRestarts: number): string | undefined {
  const { containerStatuses = [], initContainerStatuses = [] } =
    (object as PodObject).status ?? {}
  for (const each of [...initContainerStatuses, ...containerStatuses]) {
    if (each.ready === true || (each.restartCount ?? 0) < maxRestarts) continue
    const said = each.lastState?.terminated?.message?.trim().slice(-maxSaid)
    const why = said === undefined || said === '' ? '' : `: ${said}`
    return `container ${each.name ?? ''} ended ${each.restartCount ?? 0} times${why}`
  }
  return undefined
}

const maxSaid = 300
