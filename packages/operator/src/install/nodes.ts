// SPDX-License-Identifier: Apache-2.0
// Which nodes should run the mesh. Of Node objects compile needs addresses only, so labels and readiness are watched here.
import type { ApiClient } from '../watch/client.ts'
import { Reflector, type ReflectorLimits, type ServerObject } from '../watch/reflector.ts'
import { compiledResources, type Resource } from '../watch/resources.ts'
import { HeldObjects } from './held.ts'

export interface NodeFact {
  readonly labels: Readonly<Record<string, string>>
  /** Condition Ready of the kubelet; without any, as where no kubelet is, true. */
  readonly isReady: boolean
}

/** By name, of the Node objects that exist. */
export type NodeFacts = ReadonlyMap<string, NodeFact>

export type NodeSelector = Readonly<Record<string, string>> | undefined

/** As `nodeSelector` of a pod: every label, with exactly that value. */
export function isSelected({ labels }: NodeFact, selector: NodeSelector): boolean {
  return Object.entries(selector ?? {}).every(([name, value]) => labels[name] === value)
}

/**
 * PURE. Of `names`, the nodes that should hold the configuration: those that the Mesh selects, and that are Ready or have a process
 * connected. A node that is down holds nothing up; when it comes back it counts again, and gets the configuration before it is well.
 */
export function expectedNodes(
  names: readonly string[],
  facts: NodeFacts,
  selector: NodeSelector,
  connected: ReadonlySet<string>,
): string[] {
  return names.filter((name) => {
    const fact = facts.get(name)
    if (fact === undefined) return connected.has(name)
    return isSelected(fact, selector) && (fact.isReady || connected.has(name))
  })
}

export class NodeWatch {
  readonly #reflector: Reflector
  readonly #held: HeldObjects<NodeFact>
  #onSynced: (() => void) | undefined

  constructor(client: ApiClient, limits: ReflectorLimits, onChange: () => void) {
    this.#held = new HeldObjects(factOf, () => {
      this.#onSynced?.()
      this.#onSynced = undefined
      onChange()
    })
    const nodes = compiledResources.find(({ kind }) => kind === 'Node') as Resource
    this.#reflector = new Reflector(client, nodes, this.#held, limits)
  }

  /** `onSynced` is called when all nodes are known. */
  start(onSynced: () => void): void {
    this.#onSynced = onSynced
    this.#reflector.start()
  }

  /** undefined: not known yet. */
  get facts(): NodeFacts | undefined {
    return this.#reflector.synced ? this.#held.values : undefined
  }

  async close(): Promise<void> {
    this.#onSynced = undefined
    await this.#reflector.close()
  }
}

function factOf(object: ServerObject): NodeFact {
  const labels = (object.metadata['labels'] ?? {}) as Readonly<Record<string, string>>
  const status = object['status'] as
    { conditions?: readonly { type: string; status: string }[] } | undefined
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')
  return { labels, isReady: ready === undefined || ready.status === 'True' }
}
