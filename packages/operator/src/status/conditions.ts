// SPDX-License-Identifier: Apache-2.0
// What is known of every object: accepted, resolved, and programmed on how many nodes.
import { describeKey, formatError, type ValidationError } from '../api/object.ts'
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
}

export interface StatusInput {
  readonly conditions: Conditions
  readonly errors: readonly ValidationError[]
  readonly subscribers: readonly SubscriberStatus[]
  readonly nodes: readonly string[]
  /** Version in which the object's present content was first published, by key. */
  readonly publishedIn: ReadonlyMap<string, number>
  readonly generations: ReadonlyMap<string, number>
}

/** Kinds that only the agent puts in force; the others need the proxy as well. */
const agentKinds = new Set(['NetworkPolicy', 'AccessPolicy'])

/** Status of every object that has one, sorted by key. */
export function objectStatuses(input: StatusInput): ObjectStatus[] {
  const invalid = new Map<string, string[]>()
  for (const error of input.errors) {
    if (error.key === '') continue
    const texts = invalid.get(error.key) ?? []
    texts.push(formatError({ ...error, object: '' }))
    invalid.set(error.key, texts)
  }
  const keys = [...new Set([...input.conditions.keys(), ...invalid.keys()])].sort()
  return keys.map((key) => {
    const [kind = '', namespace = '', name = ''] = key.split('/')
    const observedGeneration = input.generations.get(key) ?? 0
    const compiled = input.conditions.get(key) ?? []
    const texts = invalid.get(key)
    const conditions =
      texts === undefined
        ? compiled
        : [invalidCondition(texts, observedGeneration > 0), ...compiled.slice(1)]
    const inForce = compiled.some(
      ({ type, status }) => type === 'Accepted' && status === 'True',
    )
    return {
      kind,
      namespace,
      name,
      observedGeneration,
      conditions: inForce ? [...conditions, programmed(key, kind, input)] : conditions,
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

function programmed(key: string, kind: string, input: StatusInput): Condition {
  const version = input.publishedIn.get(key) ?? Number.POSITIVE_INFINITY
  const roles = agentKinds.has(kind)
    ? (['agent'] as const)
    : (['agent', 'proxy'] as const)
  const holds = (node: string): boolean =>
    roles.every((role) =>
      input.subscribers.some(
        (subscriber) =>
          subscriber.node === node &&
          subscriber.role === role &&
          subscriber.ackedVersion >= version,
      ),
    )
  const done = input.nodes.filter(holds).length
  const complete = done === input.nodes.length && done > 0
  const message = `acknowledged by ${done} of ${input.nodes.length} nodes`
  const refusals = input.subscribers
    .filter(
      ({ nack, node }) =>
        nack !== undefined && nack.version >= version && input.nodes.includes(node),
    )
    .map(({ node, role, nack }) => `${node} ${role}: ${nack?.reason}`)
  return {
    type: 'Programmed',
    status: complete ? 'True' : 'False',
    reason: complete ? 'Programmed' : refusals.length > 0 ? 'Refused' : 'Pending',
    message: [message, ...refusals].join('; '),
  }
}

/** "HTTPRoute shop/web". */
export function describeStatus({ kind, namespace, name }: ObjectStatus): string {
  return describeKey(`${kind}/${namespace}/${name}`)
}
