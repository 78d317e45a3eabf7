// SPDX-License-Identifier: Apache-2.0
// What each path of the debug endpoint answers: the very values that the agent works with.
import { formatAddress, type SubscriptionState } from '@pillion/contract'
import { maps, ProxyState, type Datapath, type KeyedMap } from '@pillion/ebpf-l4'
import type { Handler } from './debug.ts'
import { differences } from './dump.ts'
import { AgentError } from './errors.ts'
import type { Executables } from './executables.ts'
import { explain } from './explain.ts'
import type { Feature } from './features.ts'
import { clockOffsetMs } from './flows.ts'
import type { Metrics } from './metrics.ts'
import { Names } from './names.ts'
import { accelerationOf, type Reconciler } from './reconcile.ts'
import { shadowPolicies } from './shadow.ts'

export interface HandlerParts {
  readonly node: string
  readonly deadmanMs: number
  readonly kernel: Pick<Datapath, 'tables' | 'dump' | 'counters' | 'proxyState'>
  readonly reconciler: Reconciler
  readonly metrics: Metrics
  readonly executables: Executables
  readonly features: readonly Feature[]
  /** Asks the node anew, beside what runs. */
  readonly preflight: () => Promise<unknown>
  readonly subscription: () => SubscriptionState | undefined
  /** Why the node is not ready; empty: it is. */
  readonly problems: () => readonly string[]
}

/** Maps that user space cannot walk, or that are shown in another form. */
const notDumped: ReadonlySet<string> = new Set([
  'pl_sockets',
  'pl_on_behalf_of',
  'pl_sock_origin',
  'pl_listeners',
  'pl_sockhash',
  'pl_counters',
])

/** Handlers by path. */
export function debugHandlers(parts: HandlerParts): Readonly<Record<string, Handler>> {
  const { node, kernel, reconciler, metrics, executables, subscription } = parts
  return {
    '/healthz': () => ({ text: 'ok\n' }),
    '/readyz': () => {
      const problems = parts.problems()
      if (problems.length === 0) return { text: 'ok\n' }
      return { text: `${problems.join('\n')}\n`, status: 503 }
    },
    '/metrics': async () => ({ text: await metrics.text() }),
    '/debug/config': () => ({
      json: { node, subscription: subscription(), resources: reconciler.resources },
    }),
    '/debug/maps': (query) => ({ json: dumpMaps(kernel, query.get('map')) }),
    '/debug/diff': () => ({ json: differences(reconciler.tables, kernel.tables()) }),
    '/debug/workloads': () => ({ json: workloads(reconciler) }),
    '/debug/executables': () => ({ json: executables.known }),
    '/debug/features': () => ({ json: parts.features }),
    '/debug/preflight': async () => ({ json: await parts.preflight() }),
    '/debug/shadow': () => {
      const names = new Names(reconciler.resources)
      const policies = shadowPolicies(kernel.dump('pl_shadow'), names, clockOffsetMs())
      return { json: { policies } }
    },
    '/debug/explain': (query) => ({ json: explainQuery(parts, query) }),
  }
}

function dumpMaps(kernel: HandlerParts['kernel'], only: string | null): unknown {
  const names = (Object.keys(maps) as KeyedMap[]).filter((name) => !notDumped.has(name))
  if (only === null) {
    const dumped = names.map((name) => [name, kernel.dump(name)])
    return { ...Object.fromEntries(dumped), pl_counters: kernel.counters() }
  }
  const name = names.find((known) => known === only)
  if (name === undefined) {
    const known = names.join(', ')
    throw new AgentError('QUESTION', `no map ${only} to show; there are ${known}`)
  }
  return { [name]: kernel.dump(name) }
}

/** Pods whose identity is in the kernel: a kubelet may start their processes. */
function workloads(reconciler: Reconciler): unknown {
  const { workload } = reconciler.resources
  return reconciler.admitted().flatMap(({ uid, name, cgroup }) => {
    const found = workload.get(name)
    if (found === undefined) return []
    return {
      uid,
      namespace: found.namespace,
      name: found.name,
      identity: found.identity,
      cgroup: cgroup.path,
      cgroupId: String(cgroup.id),
      addresses: found.addresses.map(formatAddress),
    }
  })
}

function explainQuery(parts: HandlerParts, query: URLSearchParams): unknown {
  const { node, reconciler, kernel, deadmanMs } = parts
  const [from, to] = [query.get('from'), query.get('to')]
  if (from === null || to === null) {
    const wanted = '?from=NAMESPACE/POD&to=NAMESPACE/NAME:PORT'
    throw new AgentError('QUESTION', `ask with ${wanted}`)
  }
  const { resources, tables } = reconciler
  const { state, ageMs } = kernel.proxyState()
  const input = {
    node,
    resources,
    tables,
    proxyServes: state === ProxyState.PROXY_SERVING && ageMs < deadmanMs,
    acceleration: accelerationOf(resources),
    admitted: new Set(reconciler.admitted().map(({ uid }) => uid)),
    judged: new Set((query.get('judged') ?? '').split(',').map(Number)),
  }
  return explain(input, from, to)
}
