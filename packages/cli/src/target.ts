// SPDX-License-Identifier: Apache-2.0
// The mesh that a question is about: of the lab, or of a cluster. What is asked of both is asked through this.
import { existsSync } from 'node:fs'
import { paths, type KubeObject, type OperatorStatus, type PodObject } from '@pillion/lab'
import type { Cluster } from '@pillion/operator'
import { agent, flows, lab, meshStatus, operator, readiness } from './client.ts'
import {
  hasDefaultCluster,
  namesCluster,
  withCluster,
  type ClusterFlags,
} from './cluster/connect.ts'
import { Debug } from './cluster/debug.ts'
import { getPath, Objects } from './cluster/objects.ts'
import { containerOf, isReady } from './cluster/pods.ts'
import { conditionsOf, meshPath, type Condition } from './install/rollout.ts'

export interface Target {
  /** "the lab", or the context. */
  readonly name: string
  /** Names of the nodes that take part, sorted. */
  nodes(): Promise<string[]>
  operatorStatus(): Promise<OperatorStatus>
  /** Conditions of the Mesh; none where there is no Mesh. */
  mesh(): Promise<readonly Condition[]>
  operator<T>(path: string): Promise<T>
  agent<T>(node: string, path: string): Promise<T>
  /** "ready", or why not. */
  readiness(node: string, which: 'agent' | 'proxy'): Promise<string>
  /** "namespace/name" of Services: of one namespace, or of all. */
  services(namespace?: string): Promise<Set<string>>
  /** Pods of one namespace, or of all. */
  pods(namespace?: string): Promise<PodObject[]>
  /** Lines that a node's agent answers at a path of flows, until it ends or `signal` aborts. */
  flows(
    node: string,
    path: string,
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void>
}

export interface TargetFlags extends ClusterFlags {
  readonly namespace: string
}

/**
 * Whether the lab is meant: no option names a cluster, and a lab runs or there is no kubeconfig either (asking the lab then
 * says what to do).
 */
export function usesLab(flags: ClusterFlags): boolean {
  return !namesCluster(flags) && (existsSync(paths.socket) || !hasDefaultCluster())
}

/** Runs with the target that is meant. Throws the LabError `not-running` when there is none. */
export async function withTarget<T>(
  flags: TargetFlags,
  run: (target: Target) => Promise<T>,
): Promise<T> {
  if (usesLab(flags)) {
    await meshStatus()
    return run(labTarget)
  }
  return withCluster(flags, (cluster) => run(clusterTarget(cluster, flags.namespace)))
}

const labTarget: Target = {
  name: 'the lab',
  nodes: async () => (await meshStatus()).nodes.map(({ name }) => name).sort(),
  operatorStatus: () => operator('/debug/status'),
  mesh: async () => {
    const { objects } = await operator<{
      objects: readonly { kind: string; conditions: readonly Condition[] }[]
    }>('/debug/status')
    return objects.find(({ kind }) => kind === 'Mesh')?.conditions ?? []
  },
  operator,
  agent,
  readiness,
  services: async (namespace) => namesOf(await labObjects('Service', namespace)),
  pods: async (namespace) => (await labObjects('Pod', namespace)) as PodObject[],
  flows,
}

function labObjects(kind: string, namespace?: string): Promise<KubeObject[]> {
  const query = new URLSearchParams({ kind })
  if (namespace !== undefined) query.set('namespace', namespace)
  return lab('GET', `/objects?${query.toString()}`)
}

const namesOf = (objects: readonly Pick<KubeObject, 'metadata'>[]): Set<string> =>
  new Set(objects.map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`))

export function clusterTarget(cluster: Cluster, namespace: string): Target {
  const debug = new Debug({ cluster, namespace })
  const objects = new Objects(cluster)
  const ask = async <T>(path: string): Promise<T> =>
    debug.json<T>(await debug.operatorPod(), 'operator', path)
  return {
    name: `context ${cluster.context}`,
    nodes: async () => {
      const pods = await debug.nodePods()
      return pods.flatMap(({ spec }) => spec.nodeName ?? []).sort()
    },
    operatorStatus: () => mergedStatus(debug),
    mesh: async () => {
      const mesh = await getPath(cluster, meshPath)
      return mesh === undefined ? [] : conditionsOf(mesh)
    },
    operator: ask,
    agent: async (node, path) => debug.json(await debug.nodePod(node), 'agent', path),
    readiness: async (node, which) => {
      const pod = await debug.nodePod(node)
      const container = containerOf(pod, which)?.name ?? which
      if (isReady(pod, container)) return 'ready'
      const status = pod.status?.containerStatuses?.find(({ name }) => name === container)
      return status?.state?.waiting?.reason ?? 'not ready'
    },
    services: async (of) =>
      namesOf((await objects.list('v1', 'Service', of)) as unknown as KubeObject[]),
    pods: async (of) => (await objects.list('v1', 'Pod', of)) as unknown as PodObject[],
    flows: async (node, path, onLine, signal) =>
      debug.follow(await debug.nodePod(node), 'agent', path, onLine, signal),
  }
}

/** Each node's stream is served by one replica: who is connected to any of them is connected. */
async function mergedStatus(debug: Debug): Promise<OperatorStatus> {
  await debug.operatorPod()
  const { operator: pods } = await debug.pods()
  const ready = pods.filter((pod) =>
    isReady(pod, containerOf(pod, 'operator')?.name ?? ''),
  )
  const statuses = await Promise.all(
    (ready.length > 0 ? ready : pods).map((pod) =>
      debug.json<OperatorStatus>(pod, 'operator', '/debug/status'),
    ),
  )
  return mergeStatuses(statuses)
}

/** One status of those of all replicas. Pure. */
export function mergeStatuses(statuses: readonly OperatorStatus[]): OperatorStatus {
  const nodes = new Map<string, OperatorStatus['nodes'][number]>()
  for (const each of statuses.flatMap((status) => status.nodes)) {
    const key = `${each.role} ${each.node}`
    const known = nodes.get(key)
    if (known?.connected !== true || each.connected === true) nodes.set(key, each)
  }
  return {
    version: Math.max(0, ...statuses.map(({ version }) => version)),
    nodes: [...nodes.values()],
    // Every replica compiles all of it.
    objects: statuses[0]?.objects ?? [],
    errors: statuses[0]?.errors ?? [],
  }
}
