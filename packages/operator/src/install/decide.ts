// SPDX-License-Identifier: Apache-2.0
// PURE: what to do next with the pods of the nodes. One node at a time, only while the others are well, and not at all after one
// went wrong until somebody says how to go on. Forward and back are the same: a revision is a revision.

/** Limits of a roll-out. */
export const rolloutLimits = {
  /** A replaced node must be well for so long: longer than the operator needs to notice a dead stream (15 s). */
  settleMs: 20_000,
  /** A replaced node that is not well by then has failed. */
  timeoutMs: 300_000,
  /** Containers that restarted so often, and are not ready, have failed at once. */
  maxRestarts: 3,
  /** A removal that takes longer is reported, and goes on. */
  removalMs: 600_000,
} as const

export type RolloutLimits = { readonly [K in keyof typeof rolloutLimits]: number }

export interface NodePod {
  readonly name: string
  readonly uid: string
  readonly node: string
  readonly revision: string
  readonly isDeleting: boolean
  /** Of the kubelet. */
  readonly isReady: boolean
  /** Why the node is not well, beyond isReady; undefined: it is. */
  readonly trouble: string | undefined
  /** What no waiting will heal: restarts, a refused configuration. */
  readonly failure: string | undefined
  /** For how long it has been well, and how long this pod has been looked at. */
  readonly wellMs: number
  readonly seenMs: number
}

/** Why and where a revision's roll-out stopped. */
export interface Halt {
  readonly revision: string
  readonly node: string
  readonly message: string
}

export interface RolloutState {
  /** Wanted. */
  readonly revision: string
  /** The DaemonSet's controller has seen it, and wants so many pods. */
  readonly isObserved: boolean
  readonly total: number
  readonly pods: readonly NodePod[]
  readonly halt: Halt | undefined
}

export type Action =
  | { readonly kind: 'done' }
  | { readonly kind: 'wait'; readonly message: string }
  | { readonly kind: 'replace'; readonly pods: readonly NodePod[] }
  | { readonly kind: 'halt'; readonly halt: Halt; readonly isNew: boolean }

export const isWell = ({ isReady, isDeleting, trouble, failure }: NodePod): boolean =>
  isReady && !isDeleting && trouble === undefined && failure === undefined

/** What is wrong with a pod, for people. */
export function describePod(pod: NodePod): string {
  if (pod.isDeleting) return `${pod.node} is stopping`
  if (pod.failure !== undefined) return `${pod.node}: ${pod.failure}`
  if (!pod.isReady) return `${pod.node} is not ready`
  return `${pod.node}: ${pod.trouble ?? 'was not well for long enough'}`
}

/** The next step of a roll-out. */
export function decideRollout(state: RolloutState, limits: RolloutLimits): Action {
  const { revision, pods, total, isObserved } = state
  if (!isObserved) return wait('the DaemonSet is being taken over')
  const old = pods.filter((pod) => pod.revision !== revision && !pod.isDeleting)
  const fresh = pods.filter((pod) => pod.revision === revision)
  if (state.halt?.revision === revision && old.length > 0)
    return { kind: 'halt', halt: state.halt, isNew: false }
  const unwell = fresh.filter((pod) => !isWell(pod))
  if (old.length > 0) {
    const failed = unwell.find(
      ({ failure, seenMs }) => failure !== undefined || seenMs >= limits.timeoutMs,
    )
    if (failed !== undefined) {
      const halt = { revision, node: failed.node, message: describePod(failed) }
      return { kind: 'halt', halt, isNew: true }
    }
  }
  const leaving = pods.find(({ isDeleting }) => isDeleting)
  if (leaving !== undefined) return wait(describePod(leaving))
  if (pods.length < total) return wait(`${total - pods.length} pods are being made`)
  const [first] = unwell
  if (first !== undefined) return wait(describePod(first))
  if (old.length === 0) return { kind: 'done' }
  const unsettled = fresh.find(({ wellMs }) => wellMs < limits.settleMs)
  if (unsettled !== undefined) return wait(describePod(unsettled))
  // The broken first: replacing them can take nothing away.
  const next = [...old].sort(
    (a, b) => Number(isWell(a)) - Number(isWell(b)) || (a.node < b.node ? -1 : 1),
  )
  return { kind: 'replace', pods: next.slice(0, 1) }
}

export interface RemovalState {
  readonly revision: string
  readonly isObserved: boolean
  readonly total: number
  readonly pods: readonly NodePod[]
  /** Nodes that exist. */
  readonly nodes: ReadonlySet<string>
}

/** The next step of a removal: all nodes at once; a node that is gone has nothing left to remove. */
export function decideRemoval(state: RemovalState): Action {
  const { revision, isObserved, total, nodes } = state
  if (!isObserved) return wait('the DaemonSet is being taken over')
  const pods = state.pods.filter(({ node }) => nodes.has(node))
  const old = pods.filter((pod) => pod.revision !== revision && !pod.isDeleting)
  if (old.length > 0) return { kind: 'replace', pods: old }
  const clean = pods.filter(
    (pod) => pod.revision === revision && pod.isReady && !pod.isDeleting,
  )
  // The controller counts a node until it has noticed that it is gone.
  if (clean.length >= Math.min(total, nodes.size) && pods.length === clean.length)
    return { kind: 'done' }
  const dirty = pods.filter((pod) => !clean.includes(pod)).map(describePod)
  const left = [
    `${clean.length} of ${total} nodes are clean`,
    ...dirty.slice(0, maxNamed),
    ...(dirty.length > maxNamed ? ['…'] : []),
  ]
  return wait(left.join('; '))
}

const maxNamed = 10

const wait = (message: string): Action => ({ kind: 'wait', message })
