// SPDX-License-Identifier: Apache-2.0
// PURE: pods and nodes to identities, addresses and the workloads of each node.
//
// O(pods) whenever a pod, a node or the labels that policies ask for changed; a pod that did not change costs two look-ups.
import {
  Acceleration,
  parseAddress,
  ReservedIdentity,
  type Address,
  type Identity,
  type Workload,
} from '@pillion/contract'
import type { ApiObject } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import { allocate, numberOf, type Pool } from './pool.ts'
import { keep } from './same.ts'
import { selectorKeys } from './selector.ts'

type Pod = ApiObject<'Pod'>

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

export interface Workloads {
  /** By "namespace/pod". Pods that have ended are not in it. */
  readonly facts: ReadonlyMap<string, PodFact>
  readonly byAddress: ReadonlyMap<string, PodFact>
  readonly identities: ReadonlyMap<string, Identity>
  /** As every node but the owner sees them: node addresses are REMOTE_NODE. */
  readonly addresses: ReadonlyMap<string, Address>
  /** Names of the node's own Address resources, by node. */
  readonly ownAddresses: ReadonlyMap<string, readonly string[]>
  readonly workloadsByNode: ReadonlyMap<string, ReadonlyMap<string, Workload>>
  /** Numbers of a named port in the pods of an identity, by "256/TCP/http". */
  readonly namedPorts: ReadonlyMap<string, readonly number[]>
  readonly pool: Pool
  readonly ignored: ReadonlySet<string>
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

export function compileWorkloads(
  snapshot: Snapshot,
  pool: Pool,
  previous: Workloads | undefined,
): Workloads {
  const ignored = ignoredLabels(snapshot)
  const sameLabels =
    previous !== undefined && [...ignored].join() === [...previous.ignored].join()
  const known = sameLabels ? previous.facts : new Map<string, PodFact>()
  const live = [...snapshot.Pod].filter(([, pod]) => !hasEnded(pod))
  const keys = new Map(
    live.map(([name, pod]) => {
      const fact = known.get(name)
      return [name, fact?.pod === pod ? fact.identityKey : identityKey(pod, ignored)]
    }),
  )
  const nextPool = allocate(pool, new Set(keys.values()))
  const facts = new Map<string, PodFact>()
  for (const [name, pod] of live) {
    const key = keys.get(name) ?? ''
    const identity = numberOf(nextPool, key)
    const fact = known.get(name)
    const fresh = fact?.pod !== pod || fact.identity !== identity
    facts.set(name, fresh ? podFact(pod, key, identity) : fact)
  }
  const byAddress = ownersOf(facts.values())
  const nodes = [...snapshot.Node.values()].map(nodeAddresses)
  return {
    facts,
    byAddress,
    identities:
      nextPool === previous?.pool
        ? previous.identities
        : keep(identityMessages(nextPool), previous?.identities),
    addresses: keep(addressMessages(byAddress, nodes), previous?.addresses),
    ownAddresses: new Map(
      nodes.map(({ node, addresses }) => [node, addresses.map(hostName)]),
    ),
    workloadsByNode: byNode(facts.values(), previous?.workloadsByNode),
    namedPorts: keep(namedPorts(facts.values()), previous?.namedPorts),
    pool: nextPool,
    ignored,
  }
}

function ignoredLabels(snapshot: Snapshot): Set<string> {
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

function hasEnded({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed'
}

function serviceAccountOf({ spec }: Pod): string {
  return spec.serviceAccountName ?? 'default'
}

/** The security-relevant labels as one text: what has the same text is the same identity. */
function identityKey(pod: Pod, ignored: ReadonlySet<string>): string {
  const labels = Object.entries(pod.metadata.labels)
    .filter(([key]) => !ignored.has(key))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([pod.metadata.namespace, serviceAccountOf(pod), labels])
}

function identityMessages(pool: Pool): Map<string, Identity> {
  const out = new Map<string, Identity>()
  for (const [key, id] of pool.live) {
    const [namespace, serviceAccount, labels] = JSON.parse(key) as [
      string,
      string,
      [string, string][],
    ]
    out.set(String(id), {
      id,
      namespace,
      serviceAccount,
      labels: Object.fromEntries(labels),
    })
  }
  return out
}

function podFact(pod: Pod, key: string, identity: number): PodFact {
  const { metadata, spec, status } = pod
  const listed = (status?.podIPs ?? []).map(({ ip }) => ip)
  const single = status?.podIP ?? ''
  const texts = listed.length > 0 ? listed : single === '' ? [] : [single]
  const hostNetwork = spec.hostNetwork === true
  return {
    pod,
    identityKey: key,
    identity,
    node: spec.nodeName ?? '',
    addresses: hostNetwork ? [] : texts,
    workload: {
      uid: metadata.uid,
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

/** Pods by address. A pod that is going away must not shadow the one that got its address. */
function ownersOf(facts: Iterable<PodFact>): Map<string, PodFact> {
  const owners = new Map<string, PodFact>()
  for (const fact of facts) {
    for (const address of fact.addresses) {
      const leaving = fact.pod.metadata.deletionTimestamp ?? undefined
      if (owners.has(address) && leaving !== undefined) continue
      owners.set(address, fact)
    }
  }
  return owners
}

interface NodeAddresses {
  readonly node: string
  readonly addresses: readonly string[]
}

function nodeAddresses({ metadata, status }: ApiObject<'Node'>): NodeAddresses {
  const addresses = (status?.addresses ?? [])
    .filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
    .map(({ address }) => address)
  return { node: metadata.name, addresses }
}

const hostName = (address: string): string => `${address}/128`

function addressMessages(
  pods: ReadonlyMap<string, PodFact>,
  nodes: readonly NodeAddresses[],
): Map<string, Address> {
  const out = new Map<string, Address>()
  const add = (text: string, rest: Omit<Address, 'address' | 'prefixLength'>): void => {
    out.set(hostName(text), { address: parseAddress(text), prefixLength: 128, ...rest })
  }
  for (const [text, { identity, node, pod }] of pods) {
    const owner = `${pod.metadata.namespace}/${pod.metadata.name}`
    add(text, { identity, node, owner, nodeAddress: false })
  }
  for (const { node, addresses } of nodes) {
    for (const text of addresses) {
      add(text, {
        identity: ReservedIdentity.remoteNode,
        node,
        owner: `node/${node}`,
        nodeAddress: true,
      })
    }
  }
  return out
}

function byNode(
  facts: Iterable<PodFact>,
  previous: Workloads['workloadsByNode'] | undefined,
): Workloads['workloadsByNode'] {
  const nodes = new Map<string, Map<string, Workload>>()
  for (const { node, pod, workload } of facts) {
    if (node === '') continue
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`
    const workloads = nodes.get(node)
    if (workloads === undefined) nodes.set(node, new Map([[name, workload]]))
    else workloads.set(name, workload)
  }
  return new Map(
    [...nodes].map(([node, workloads]) => [node, keep(workloads, previous?.get(node))]),
  )
}

function namedPorts(facts: Iterable<PodFact>): Map<string, number[]> {
  const out = new Map<string, number[]>()
  for (const { identity, pod } of facts) {
    for (const { ports } of [...pod.spec.containers, ...pod.spec.initContainers]) {
      for (const { name, containerPort, protocol } of ports) {
        if (name === undefined) continue
        const key = `${identity}/${protocol}/${name}`
        const numbers = out.get(key)
        if (numbers === undefined) out.set(key, [containerPort])
        else if (!numbers.includes(containerPort)) {
          numbers.push(containerPort)
          numbers.sort((a, b) => a - b)
        }
      }
    }
  }
  return out
}
