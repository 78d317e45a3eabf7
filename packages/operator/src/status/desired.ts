// SPDX-License-Identifier: Apache-2.0
// PURE: the status that an object should show in the API, from what we found and what it shows now.
import { isDeepStrictEqual } from 'node:util'
import type { ParentRef } from '../api/route.ts'
import { isBad, type Condition } from '../compile/condition.ts'
import { installedType } from '../install/condition.ts'
import type { Shown } from '../watch/held.ts'
import { supportedFeatures } from '../compile/traffic-policies.ts'
import { ancestorsOf, type Ancestor } from './ancestors.ts'
import type { ObjectStatus, ParentStatus } from './conditions.ts'

/** Our name in status.parents[] of routes, and in GatewayClass-like fields. */
export const controllerName = 'mesh.pillion.dev/operator'

/** Condition of meta/v1. */
export interface ApiCondition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly observedGeneration: number
  readonly lastTransitionTime: string
}

/** RouteParentStatus of the Gateway API. */
export interface RouteParent {
  readonly parentRef: Record<string, unknown>
  readonly controllerName: string
  readonly conditions: readonly ApiCondition[]
}

export type StatusBody =
  | { readonly conditions: readonly ApiCondition[] }
  | { readonly parents: readonly RouteParent[] }
  | { readonly ancestors: readonly Ancestor<ApiCondition>[] }
  | {
      readonly conditions: readonly ApiCondition[]
      readonly supportedFeatures: readonly { readonly name: string }[]
    }

/** maxLength of messages in meta/v1, and maxItems of parents. */
const maxMessage = 32_768
const maxParents = 32

export function isRoute(kind: string): boolean {
  return kind === 'HTTPRoute' || kind === 'GRPCRoute'
}

/** Whether the status of the kind has entries of other controllers beside ours. */
export function isShared(kind: string): boolean {
  return isRoute(kind) || kind === 'XBackendTrafficPolicy'
}

/**
 * The whole `status` that `kind` should show; `object` undefined: we have nothing to say of it (any more). Undefined: what it
 * shows is not ours to change. `now` is RFC 3339; a condition whose status stays keeps its time.
 */
export function desiredStatus(
  kind: string,
  object: ObjectStatus | undefined,
  shown: Shown,
  now: string,
): StatusBody | undefined {
  const make = (
    conditions: readonly Condition[],
    before: readonly ApiCondition[],
  ): ApiCondition[] =>
    conditions.map((condition) => {
      const known = before.find(({ type }) => type === condition.type)
      const isInvalid = condition.reason === 'Invalid'
      return {
        ...condition,
        message: condition.message.slice(0, maxMessage),
        // The verdict on an invalid version speaks of that version, the rest of the one that is in force.
        observedGeneration: isInvalid
          ? shown.generation
          : (object?.observedGeneration ?? 0),
        lastTransitionTime:
          known?.status === condition.status ? known.lastTransitionTime : now,
      }
    })
  if (kind === 'XBackendTrafficPolicy') {
    const { ancestors = [] } = (shown.status ?? {}) as Partial<Listed>
    const list = ancestorsOf(
      ancestors,
      shown.targetRefs,
      object !== undefined,
      controllerName,
      (before) => make(object?.conditions ?? [], before),
    )
    return { ancestors: list }
  }
  if (!isRoute(kind)) {
    if (object === undefined) return undefined
    const { conditions: known = [] } = (shown.status ?? {}) as Partial<Listed>
    const conditions = make(object.conditions, known)
    if (kind !== 'XMesh') return { conditions }
    return { conditions, supportedFeatures: supportedFeatures.map((name) => ({ name })) }
  }
  const { parents: before = [] } = (shown.status ?? {}) as { parents?: RouteParent[] }
  const wanted = parentsOf(object, shown).map(({ parentRef, conditions }) => {
    const ref = writtenRef(parentRef)
    const known = before.find((each) => isOurs(each) && sameRef(each.parentRef, ref))
    return {
      parentRef: known?.parentRef ?? ref,
      controllerName,
      conditions: make(conditions, known?.conditions ?? []),
    }
  })
  // The list is atomic, so other controllers' entries are written with ours; nothing changes its place.
  const kept = before.flatMap((each): RouteParent[] => {
    if (!isOurs(each)) return [each]
    const mine = wanted.find(({ parentRef }) => parentRef === each.parentRef)
    return mine === undefined ? [] : [mine]
  })
  const fresh = wanted.filter((each) => !kept.includes(each))
  return { parents: [...kept, ...fresh].slice(0, maxParents) }
}

/** True when `shown` says all of `body`. */
export function isShown(body: StatusBody, shown: Shown): boolean {
  const status = (shown.status ?? {}) as Partial<Listed>
  return Object.entries(body).every(([field, value]) => {
    const now = status[field as keyof Listed] ?? []
    return isDeepStrictEqual(plain(value), plain(field === 'conditions' ? own(now) : now))
  })
}

/** Without the condition of a Mesh that the installation writes. */
const own = (conditions: unknown): unknown =>
  ((conditions ?? []) as ApiCondition[]).filter(({ type }) => type !== installedType)

/** Conditions that went bad, or are bad for another reason than before. */
export function turnedBad(body: StatusBody, shown: Shown): ApiCondition[] {
  const before = conditionsOf((shown.status ?? {}) as Partial<Listed>)
  return conditionsOf(body as Partial<Listed>).filter((condition) => {
    // Nodes take a moment to answer: that is no news for anybody.
    if (!isBad(condition as Condition) || condition.reason === 'Pending') return false
    return !before.some(
      ({ type, status, reason }) =>
        type === condition.type &&
        status === condition.status &&
        reason === condition.reason,
    )
  })
}

/** Every list that some status has. */
interface Listed {
  readonly conditions: readonly ApiCondition[]
  readonly parents: readonly RouteParent[]
  readonly ancestors: readonly Ancestor<ApiCondition>[]
  readonly supportedFeatures: readonly unknown[]
}

function conditionsOf({
  conditions = [],
  parents = [],
  ancestors = [],
}: Partial<Listed>): ApiCondition[] {
  const listed = [...parents, ...ancestors].filter(isOurs)
  return [...conditions, ...listed.flatMap((each) => each.conditions)]
}

/** A route that never was valid has no parsed parentRefs: what it says of itself must do. */
function parentsOf(
  object: ObjectStatus | undefined,
  { parentRefs }: Shown,
): readonly ParentStatus[] {
  if (object === undefined || object.parents.length > 0) return object?.parents ?? []
  if (!Array.isArray(parentRefs)) return []
  return (parentRefs as Partial<ParentRef>[])
    .filter(({ group, kind }) => group === '' && kind === 'Service')
    .map((parentRef) => ({
      parentRef: parentRef as ParentRef,
      conditions: object.conditions,
    }))
}

function isOurs(entry: { controllerName: string }): boolean {
  return entry.controllerName === controllerName
}

function writtenRef(ref: ParentRef): Record<string, unknown> {
  const { group, kind, name } = ref
  const optional = (['namespace', 'sectionName', 'port'] as const).flatMap((field) =>
    ref[field] === undefined || ref[field] === null ? [] : [[field, ref[field]] as const],
  )
  return { group, kind, name, ...Object.fromEntries(optional) }
}

function sameRef(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  return ['group', 'kind', 'namespace', 'name', 'sectionName', 'port'].every(
    (field) => a[field] === b[field],
  )
}

/** As it looks after a way through JSON: a field that is undefined is absent there. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown
}
