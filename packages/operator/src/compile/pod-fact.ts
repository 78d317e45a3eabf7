// SPDX-License-Identifier: Apache-2.0
// PURE: what the mesh knows of one pod, and what makes pods the same identity.
import {
  Acceleration,
  parseAddress,
  type Identity,
  type Workload,
} from '@pillion/contract'
import type { ApiObject } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { addressIdentity } from './cidr.ts'
import { selectorKeys } from './selector.ts'

export type Pod = ApiObject<'Pod'>

/** What the rest of compile knows of a pod; the same value for as long as nothing of it changed. */
export interface PodFact {
  readonly pod: Pod
  readonly identityKey: string
  readonly identity: number
  readonly node: string
  /** None for a pod in the node's network: its addresses are the node's. */
  readonly addresses: readonly string[]
  readonly workload: Workload
}

/** Labels that differ between pods that are otherwise the same: they make no identity, unless a policy asks for them. */
const noisyLabels = [
  'pod-template-hash',
  'controller-revision-hash',
  'pod-template-generation',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'batch.kubernetes.io/job-completion-index',
  'batch.kubernetes.io/controller-uid',
  'controller-uid',
]

const accelerationAnnotation = 'mesh.pillion.dev/acceleration'
const mirrorAnnotation = 'kubernetes.io/config.mirror'

/** Those that no policy of `snapshot` asks for. */
export function ignoredLabels(snapshot: Snapshot): Set<string> {
  const asked = new Set<string>()
  for (const { spec } of snapshot.NetworkPolicy.values()) {
    const peers = [
      ...(spec.ingress ?? []).flatMap(({ from }) => from),
      ...(spec.egress ?? []).flatMap(({ to }) => to),
    ]
    for (const selector of [spec.podSelector, ...peers.map((peer) => peer.podSelector)]) {
      for (const key of selector ? selectorKeys(selector) : []) asked.add(key)
    }
  }
  for (const { spec } of snapshot.AccessPolicy.values()) {
    const peers = spec.rules.flatMap(({ from }) => from)
    for (const selector of [spec.selector, ...peers.map((peer) => peer.podSelector)]) {
      for (const key of selector ? selectorKeys(selector) : []) asked.add(key)
    }
  }
  return new Set(noisyLabels.filter((label) => !asked.has(label)))
}

/** A pod that has ended answers no more, whatever its address does. */
export function hasEnded({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed'
}

function serviceAccountOf({ spec }: Pod): string {
  return spec.serviceAccountName ?? 'default'
}

/**
 * What policies can tell pods apart by, as one text: what has the same text is the same identity. `blocks`: of ipBlocks that
 * hold its addresses.
 */
export function identityKey(
  pod: Pod,
  ignored: ReadonlySet<string>,
  blocks: readonly string[],
): string {
  const labels = Object.entries(pod.metadata.labels)
    .filter(([key]) => !ignored.has(key))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  const key = [pod.metadata.namespace, serviceAccountOf(pod), labels]
  return JSON.stringify(blocks.length === 0 ? key : [...key, blocks])
}

/** Addresses of its own, as bytes: a pod in the node's network has none. */
export function addressesOf({ spec, status }: Pod): Buffer[] {
  return spec.hostNetwork === true ? [] : podIps(status).map(parseAddress)
}

function podIps(status: Pod['status']): string[] {
  const listed = (status?.podIPs ?? []).map(({ ip }) => ip)
  const single = status?.podIP ?? ''
  return listed.length > 0 ? listed : single === '' ? [] : [single]
}

/** The identity that has this key and number. */
export function identityOf(key: string, id: number): Identity {
  const other = addressIdentity(key, id)
  if (other !== undefined) return other
  const [namespace, serviceAccount, labels] = JSON.parse(key) as [
    string,
    string,
    [string, string][],
  ]
  return { id, namespace, serviceAccount, labels: Object.fromEntries(labels) }
}

/**
 * What the pod's node calls it: a static pod's cgroup has the hash of its manifest, its mirror in the API an uid of its own and
 * that hash as an annotation. Anybody may write annotations: one in the form of an API uid would name somebody else's cgroup.
 */
function uidOnNode({ metadata }: Pod): string {
  const hash = metadata.annotations[mirrorAnnotation] ?? ''
  const isMirror = metadata.ownerReferences.some(({ kind }) => kind === 'Node')
  return isMirror && /^[0-9a-f]{32}$/.test(hash) ? hash : metadata.uid
}

export function podFact(pod: Pod, key: string, identity: number): PodFact {
  const { metadata, spec, status } = pod
  const texts = podIps(status)
  const hostNetwork = spec.hostNetwork === true
  return {
    pod,
    identityKey: key,
    identity,
    node: spec.nodeName ?? '',
    addresses: hostNetwork ? [] : texts,
    workload: {
      uid: uidOnNode(pod),
      namespace: metadata.namespace,
      name: metadata.name,
      identity,
      addresses: texts.map(parseAddress),
      workload: workloadName(pod),
      serviceAccount: serviceAccountOf(pod),
      app:
        metadata.labels['app'] ?? metadata.labels['app.kubernetes.io/name'] ?? 'unknown',
      version:
        metadata.labels['version'] ??
        metadata.labels['app.kubernetes.io/version'] ??
        'unknown',
      acceleration: accelerationOf(metadata.annotations[accelerationAnnotation]),
      hostNetwork,
    },
  }
}

function accelerationOf(text: string | undefined): Acceleration {
  switch (text) {
    case 'Off':
      return Acceleration.OFF
    case 'On':
      return Acceleration.ON
    case 'Auto':
      return Acceleration.AUTO
    default:
      return Acceleration.UNSPECIFIED
  }
}

/** Who made the pod; a ReplicaSet's name without its hash is its Deployment's. */
function workloadName({ metadata }: Pod): string {
  const owner = metadata.ownerReferences.find(({ controller }) => controller === true)
  if (owner === undefined) return metadata.name
  const hash = metadata.labels['pod-template-hash']
  const suffix = `-${hash}`
  return owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(suffix)
    ? owner.name.slice(0, -suffix.length)
    : owner.name
}
