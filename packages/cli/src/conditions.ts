// SPDX-License-Identifier: Apache-2.0
// Conditions of an object, as wait and status read them. Pure.
import type { ObjectStatus } from '@pillion/operator'
import type { ApiObject } from './cluster/objects.ts'

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly observedGeneration?: number
}

/** All that one place of an object's status says: of a route each parentRef has one, of other objects there is one. */
export type Verdict = readonly Condition[]

/** Our name in status.parents of routes; other controllers' conditions say nothing of us. */
const controllerName = 'mesh.pillion.dev/operator'

/** Conditions that are good when they are False. */
const inverted: ReadonlySet<string> = new Set(['PartiallyInvalid', 'Degraded'])

/** What the operator says of an object's present generation, as the API server has it. */
export function verdictsOf(object: ApiObject): Verdict[] {
  const { generation = 0 } = object.metadata
  const { conditions, parents = [] } = (object.status ?? {}) as {
    conditions?: Condition[]
    parents?: { controllerName: string; conditions: Condition[] }[]
  }
  const ours = parents.filter((parent) => parent.controllerName === controllerName)
  return [...(conditions === undefined ? [] : [{ conditions }]), ...ours].map((each) =>
    each.conditions.filter(
      ({ observedGeneration = 0 }) => observedGeneration >= generation,
    ),
  )
}

/** The same from the operator itself, whose status always speaks of the present. */
export function verdictsIn({ parents, conditions }: ObjectStatus): Verdict[] {
  return parents.length > 0 ? parents.map((parent) => parent.conditions) : [conditions]
}

/** What is not as wanted; empty when the condition holds in every verdict. */
export function lacking(verdicts: readonly Verdict[], type: string): string {
  if (verdicts.length === 0) return `nobody has said anything about ${type} yet`
  const texts = verdicts.flatMap((verdict) => {
    const wanted = verdict.find((condition) => condition.type === type)
    if (wanted?.status === 'True') return []
    if (wanted !== undefined) return [`${wanted.reason}: ${wanted.message}`]
    // Without Accepted there is no Programmed: the reason is what the person needs.
    const bad = verdict.filter(isBad).map(textOf)
    return bad.length > 0 ? bad : [`nobody has said anything about ${type} yet`]
  })
  return [...new Set(texts)].join('; ')
}

/** Conditions about what is written in an object; the others are about nodes. */
const ofContent: ReadonlySet<string> = new Set([
  'Accepted',
  'ResolvedRefs',
  'PartiallyInvalid',
])

export interface Problem {
  /** "HTTPRoute shop/web". */
  readonly object: string
  readonly message: string
}

/** Objects that are not in force as they are written, with the reasons. */
export function problemsOf(objects: readonly ObjectStatus[]): Problem[] {
  return objects.flatMap((each) => {
    const { kind, namespace, name } = each
    const bad = verdictsIn(each)
      .flat()
      .filter((condition) => ofContent.has(condition.type) && isBad(condition))
    if (bad.length === 0) return []
    const object = `${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`
    return { object, message: [...new Set(bad.map(textOf))].join('; ') }
  })
}

/** True when the condition says that something is wrong. */
export function isBad({ type, status }: Condition): boolean {
  return inverted.has(type) === (status === 'True')
}

/** "Accepted is False, Conflicted: …". */
export function textOf({ type, status, reason, message }: Condition): string {
  return `${type} is ${status}, ${reason}: ${message}`
}
