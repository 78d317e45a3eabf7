// SPDX-License-Identifier: Apache-2.0
// What is known of every object: accepted, resolved, and programmed on how many nodes.
import { describeKey, formatError, type ValidationError } from '../api/object.ts'
import type { ParentRef } from '../api/route.ts'
import type { ParentCondition } from '../compile/attach.ts'
import type { Condition, Conditions } from '../compile/condition.ts'
import type { SubscriberStatus } from '../publish/publisher.ts'

/** Status of an object, without the times that writing adds. */
export interface ObjectStatus {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** Generation that the conditions speak of; 0: no version was ever valid. */
  readonly observedGeneration: number
  readonly conditions: readonly Condition[]
  /** Of a route: the same for each parentRef that is a Service; otherwise empty. */
  readonly parents: readonly ParentStatus[]
}

export interface ParentStatus {
  readonly parentRef: ParentRef
  readonly conditions: readonly Condition[]
}

export interface StatusInput {
  readonly conditions: Conditions
  readonly parents: ReadonlyMap<string, readonly ParentCondition[]>
  readonly errors: readonly ValidationError[]
  readonly subscribers: readonly SubscriberStatus[]
  /** That should hold the configuration. */
  readonly nodes: readonly string[]
  /** Version in which the object's present content was first published, by key. */
  readonly publishedIn: ReadonlyMap<string, number>
  readonly generations: ReadonlyMap<string, number>
}

/** Nodes that a message names; the others are in /debug/status. */
const maxNamedNodes = 10

/** Kinds that only the agent puts in force; the others need the proxy as well. */
const agentKinds = new Set(['NetworkPolicy', 'AccessPolicy'])

/** Status of every object that has one, sorted by key. */
export function objectStatuses(input: StatusInput): ObjectStatus[] {
  const texts = new Map<string, string[]>()
  for (const error of input.errors) {
    if (error.key === '') continue
    const known = texts.get(error.key) ?? []
    known.push(formatError({ ...error, object: '' }))
    texts.set(error.key, known)
  }
  const holders = holdersOf(input)
  const keys = [...new Set([...input.conditions.keys(), ...texts.keys()])].sort()
  return keys.map((key) => {
    const [kind = '', namespace = '', name = ''] = key.split('/')
    const observedGeneration = input.generations.get(key) ?? 0
    const compiled = input.conditions.get(key) ?? []
    const version = input.publishedIn.get(key) ?? Number.POSITIVE_INFINITY
    const said = texts.get(key)
    const invalid = said && invalidCondition(said, observedGeneration > 0)
    const [accepted, ...rest] = compiled
    // One list of conditions: what is wrong with the text goes before what compile found, as long as it is in force.
    const list = (found: Condition | undefined): readonly Condition[] => {
      const head = invalid ?? found
      const isInForce = found?.status === 'True'
      return [
        ...(head === undefined ? [] : [head]),
        ...rest,
        ...(isInForce ? [programmed(kind, version, holders)] : []),
        ...(kind === 'Mesh' && isInForce ? [nodesReady(input), degraded(input)] : []),
      ]
    }
    const parents = (input.parents.get(key) ?? []).map((parent) => ({
      parentRef: parent.parentRef,
      conditions: list(parent.accepted),
    }))
    return {
      kind,
      namespace,
      name,
      observedGeneration,
      conditions: list(accepted),
      parents,
    }
  })
}

function invalidCondition(texts: readonly string[], held: boolean): Condition {
  const rest = held ? ' (the last good version stays in force)' : ''
  return {
    type: 'Accepted',
    status: 'False',
    reason: 'Invalid',
    message: `${texts.join('; ')}${rest}`,
  }
}

/** How many nodes hold a version: asked for every object, so each answer must not cost O(nodes). */
interface Holders {
  /** Nodes by the lowest version that their agents hold, and their agents and proxies both. */
  readonly agent: Ranking
  readonly both: Ranking
  readonly refusals: readonly SubscriberStatus[]
}

function holdersOf({ nodes, subscribers }: StatusInput): Holders {
  // Several of a role: one that holds it will do, the other is on its way out.
  const acked = new Map<string, number>()
  for (const { node, role, ackedVersion } of subscribers) {
    const key = `${role} ${node}`
    acked.set(key, Math.max(acked.get(key) ?? 0, ackedVersion))
  }
  const of = (role: string, node: string): number => acked.get(`${role} ${node}`) ?? 0
  const known = new Set(nodes)
  return {
    agent: new Ranking(nodes, (node) => of('agent', node)),
    both: new Ranking(nodes, (node) => Math.min(of('agent', node), of('proxy', node))),
    refusals: subscribers.filter(
      ({ nack, node }) => nack !== undefined && known.has(node),
    ),
  }
}

/** Nodes by the version that they hold, the greatest first. */
class Ranking {
  readonly #ranked: readonly { readonly node: string; readonly version: number }[]
  /** Texts of those from a place on: many objects lack the same nodes. */
  readonly #texts = new Map<number, string>()

  constructor(nodes: readonly string[], versionOf: (node: string) => number) {
    this.#ranked = nodes
      .map((node) => ({ node, version: versionOf(node) }))
      .sort((a, b) => b.version - a.version)
  }

  get size(): number {
    return this.#ranked.length
  }

  /** How many hold at least `version`. */
  holding(version: number): number {
    let [low, high] = [0, this.#ranked.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ranked[middle]?.version ?? 0) >= version) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Names of all but the first `holding`: by name, so that the text does not change with who is how far behind. */
  others(holding: number): string {
    const known = this.#texts.get(holding)
    if (known !== undefined) return known
    const text = nameSome(
      this.#ranked
        .slice(holding)
        .map(({ node }) => node)
        .sort(),
    )
    this.#texts.set(holding, text)
    return text
  }
}

/** "a, b, …": no more than a message should have. */
function nameSome(nodes: readonly string[]): string {
  const more = nodes.length > maxNamedNodes ? ', …' : ''
  return `${nodes.slice(0, maxNamedNodes).join(', ')}${more}`
}

function programmed(kind: string, version: number, holders: Holders): Condition {
  const ranking = agentKinds.has(kind) ? holders.agent : holders.both
  const done = ranking.holding(version)
  const complete = done === ranking.size && done > 0
  const refusals = holders.refusals
    .filter(({ nack }) => nack !== undefined && nack.version >= version)
    .map(({ node, role, nack }) => `${node} ${role}: ${nack?.reason}`)
  const message = [
    `acknowledged by ${done} of ${ranking.size} nodes`,
    ...(done < ranking.size ? [`not yet by ${ranking.others(done)}`] : []),
    ...refusals.slice(0, maxNamedNodes),
  ]
  return {
    type: 'Programmed',
    status: complete ? 'True' : 'False',
    reason: complete ? 'Programmed' : refusals.length > 0 ? 'Refused' : 'Pending',
    message: message.join('; '),
  }
}

/** What is wanted of nodes and does not work there, as their processes say. */
function degraded({ nodes, subscribers }: StatusInput): Condition {
  const known = new Set(nodes)
  const where = new Map<string, Set<string>>()
  for (const { node, connected, degraded: texts = [] } of subscribers) {
    if (!connected || !known.has(node)) continue
    for (const text of texts) where.set(text, (where.get(text) ?? new Set()).add(node))
  }
  if (where.size === 0) {
    const message = 'all that is wanted works on every node that is connected'
    return { type: 'Degraded', status: 'False', reason: 'AllFeatures', message }
  }
  const parts = [...where]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([text, on]) =>
        `${text} (on ${on.size} of ${nodes.length} nodes: ${nameSome([...on].sort())})`,
    )
  const more = parts.length > maxNamedNodes ? ['…'] : []
  const message = [...parts.slice(0, maxNamedNodes), ...more].join('; ')
  return { type: 'Degraded', status: 'True', reason: 'FeaturesMissing', message }
}

/**
 * Whether every node's agent and proxy are connected and refuse nothing, and which software they are. Not whether they hold
 * the latest version: in a busy cluster there is always a later one.
 */
function nodesReady({ nodes, subscribers }: StatusInput): Condition {
  const ready = new Set(
    subscribers
      .filter(({ connected, nack }) => connected && nack === undefined)
      .map(({ role, node }) => `${role} ${node}`),
  )
  const known = new Set(nodes)
  const isReady = (node: string): boolean =>
    ready.has(`agent ${node}`) && ready.has(`proxy ${node}`)
  const missing = nodes.filter((node) => !isReady(node))
  const versions = new Map<string, number>()
  for (const { role, softwareVersion, mapLayout, connected, node } of subscribers) {
    if (!connected || !known.has(node)) continue
    const name = `${role} ${softwareVersion}${mapLayout && ` (maps ${mapLayout})`}`
    versions.set(name, (versions.get(name) ?? 0) + 1)
  }
  const message = [
    `${nodes.length - missing.length} of ${nodes.length} nodes ready`,
    ...(missing.length > 0 ? [`not ready: ${nameSome(missing)}`] : []),
    ...[...versions].sort().map(([version, count]) => `${version} on ${count}`),
  ].join('; ')
  return missing.length === 0 && nodes.length > 0
    ? { type: 'NodesReady', status: 'True', reason: 'Ready', message }
    : { type: 'NodesReady', status: 'False', reason: 'NodesNotReady', message }
}

/** "HTTPRoute shop/web". */
export function describeStatus({ kind, namespace, name }: ObjectStatus): string {
  return describeKey(`${kind}/${namespace}/${name}`)
}
