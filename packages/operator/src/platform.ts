// SPDX-License-Identifier: Apache-2.0
// What differs between a directory on one host and a cluster: where objects come from, where status goes, who numbers.
import { hostname } from 'node:os'
import { KubeConfig } from '@kubernetes/client-node'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { Pools } from './compile/compile.ts'
import { messageOf, OperatorError } from './errors.ts'
import { Elector } from './ha/elector.ts'
import { loadSeed, seededPools } from './ha/numbers.ts'
import { PeerBoard } from './ha/peer-board.ts'
import type { PeerReport } from './ha/peers.ts'
import { NodeWatch, type NodeFacts } from './install/nodes.ts'
import type { NodeView } from './install/pods.ts'
import { Installer } from './install/rollout.ts'
import { registerWatchMetrics } from './metrics.ts'
import type { Options } from './options.ts'
import { EventRecorder } from './status/events.ts'
import { KubernetesStatus } from './status/kubernetes.ts'
import type { StatusSink } from './status/sink.ts'
import { LastGoodStore, NumberStore } from './status/state.ts'
import { StatusWriter } from './status/writer.ts'
import { ApiClient } from './watch/client.ts'
import { DirectorySource } from './watch/directory.ts'
import { KubernetesSource } from './watch/kubernetes.ts'
import type { Source } from './watch/source.ts'

/** What a platform may ask of the operator. */
export interface Served {
  readonly registry: Registry
  /** What this replica tells the one that leads. */
  report(): PeerReport
  /** Status is to be looked at again. */
  scheduleStatus(): void
  /** What is known of the nodes. */
  view(): NodeView
  /** This replica leads from now on. */
  lead(): void
}

export interface Platform {
  readonly source: Source
  /** undefined: there is no cluster. */
  readonly client: ApiClient | undefined
  /** Writes what only one replica may write. */
  isLeader(): boolean
  readonly status: StatusSink
  readonly numbers: { load(): Pools; save(pools: Pools): void }
  /** False: what is held may be older than what another replica holds; no new streams then. */
  isFresh(): boolean
  /** What kubelets say of the nodes; undefined: nobody says, so every node counts. */
  nodes(): NodeFacts | undefined
  /** Reports of other replicas. */
  reports(): PeerReport[]
  /** Subscribers or what they hold have changed. */
  changed(): void
  /** Called when streams are served. */
  serve(served: Served): void
  close(): Promise<void>
}

/** The directory source, its STATUS files and what survives beside them. Throws an OperatorError `STATE`. */
export function directoryPlatform(options: Options): Platform {
  const numbers = new NumberStore(options.statusDir)
  const source = new DirectorySource({
    dir: options.dir,
    ignore: options.statusDir,
    debounceMs: options.debounceMs,
    rescanMs: options.rescanMs,
    maxFileBytes: options.maxFileBytes,
    lastGood: new LastGoodStore(options.statusDir),
  })
  return {
    source,
    client: undefined,
    isLeader: () => true,
    status: new StatusWriter(options.statusDir),
    numbers,
    isFresh: () => true,
    nodes: () => undefined,
    reports: () => [],
    changed: () => undefined,
    serve: () => undefined,
    close: () => source.close(),
  }
}

/** A replica that cannot follow the API server for so long is not ready: another may know better. */
const staleLimitMs = 60_000

const reflectorLimits = {
  pageSize: 500,
  backoffMinMs: 200,
  backoffMaxMs: 30_000,
} as const

/** The API server of a cluster. Waits for it; throws an OperatorError `SOURCE` or `STATE` when it refuses what must be. */
export async function kubernetesPlatform(
  options: Options,
  log: Logger,
): Promise<Platform> {
  const client = new ApiClient(loadKubeConfig(options.kubeconfig))
  const { namespace } = options
  const podName = options.podName || hostname()
  const pools = seededPools(await loadSeed(client, namespace, log))
  const limits = { ...reflectorLimits, idleMs: options.watchIdleMs }
  const source = new KubernetesSource({
    client,
    debounceMs: options.debounceMs,
    syncWarnMs: options.syncWarnMs,
    log,
    ...limits,
  })
  const events = new EventRecorder(client, podName)
  const status = new KubernetesStatus({ client, objects: source, events, log })
  let served: Served | undefined
  const board = new PeerBoard({
    client,
    namespace,
    podName,
    log,
    ...limits,
    report: () => served?.report() ?? { places: [], contents: {}, missing: {} },
    onChange: () => served?.scheduleStatus(),
  })
  const view = (): NodeView =>
    served?.view() ?? { version: 0, subscribers: [], nodes: [] }
  const nodes = new NodeWatch(client, limits, () => {
    served?.scheduleStatus()
    installer.changed()
  })
  const installer = new Installer({
    ...{ client, view, events, log, ...options, ...limits },
    nodes: () => nodes.facts,
  })
  const elector = electorOf(client, podName, options, log, (isLeader) => {
    status.lead(isLeader)
    board.lead(isLeader)
    if (options.agentImage !== '') installer.lead(isLeader)
    served?.scheduleStatus()
    if (isLeader) served?.lead()
  })
  return {
    source,
    client,
    isLeader: () => elector.isLeader,
    status,
    // Numbers follow from keys: nothing is to be kept.
    numbers: { load: () => pools, save: () => undefined },
    isFresh: () => source.staleMs < staleLimitMs,
    nodes: () => nodes.facts,
    reports: () => board.reports(),
    changed: () => {
      board.changed()
      installer.changed()
    },
    serve: (each) => {
      served = each
      registerWatchMetrics(each.registry, { source, status, events, elector, installer })
      board.lead(false)
      // Who does not know the nodes would write that none is missing.
      nodes.start(() => elector.start())
    },
    close: async () => {
      await nodes.close()
      await source.close()
      await status.close()
      await installer.close()
      await board.close()
      // Last: while others wait for the lease, nobody writes.
      await elector.close()
      client.close()
    },
  }
}

function electorOf(
  client: ApiClient,
  podName: string,
  options: Options,
  log: Logger,
  onLead: (isLeader: boolean) => void,
): Elector {
  return new Elector({
    ...{ client, log, onLead },
    namespace: options.namespace,
    name: options.leaseName,
    // A container that restarts keeps the name of its pod, but is another candidate.
    identity: `${podName}_${process.pid}_${Math.random().toString(36).slice(2, 10)}`,
    durationMs: options.leaseDurationMs,
    renewDeadlineMs: options.leaseRenewMs,
    retryMs: options.leaseRetryMs,
  })
}

/** `path`, or what a pod has; throws an OperatorError `SOURCE`. */
function loadKubeConfig(path: string): KubeConfig {
  const config = new KubeConfig()
  try {
    if (path === '') config.loadFromCluster()
    else config.loadFromFile(path)
    if (config.getCurrentCluster() === null) throw new TypeError('it names no cluster')
    return config
  } catch (error) {
    const where = path === '' ? 'service account of the pod' : path
    const message = `${where}: ${messageOf(error)}; --kubeconfig names the file to use outside of a pod`
    throw new OperatorError('SOURCE', message, { cause: error })
  }
}
