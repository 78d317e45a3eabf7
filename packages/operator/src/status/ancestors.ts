// SPDX-License-Identifier: Apache-2.0
// PURE: status.ancestors[] of a policy that is attached to Services (GEP-713): one atomic list of all controllers.

/** A targetRef, and what the list says of it. */
interface Ref {
  readonly group: string
  readonly kind: string
  readonly name: string
}

/** PolicyAncestorStatus of the Gateway API. */
export interface Ancestor<C> {
  readonly ancestorRef: Ref
  readonly controllerName: string
  readonly conditions: readonly C[]
}

/** maxItems of ancestors. */
const maxAncestors = 16

/**
 * The whole list: others' entries where they are, ours for every target. `make` gets the conditions that our entry for the
 * same target has now. `targets` is spec.targetRefs as written; `isSaid` false: we have nothing to say (any more).
 */
export function ancestorsOf<C>(
  before: readonly Ancestor<C>[],
  targets: unknown,
  isSaid: boolean,
  controllerName: string,
  make: (before: readonly C[]) => readonly C[],
): Ancestor<C>[] {
  const isOurs = (entry: Ancestor<C>): boolean => entry.controllerName === controllerName
  const refs = isSaid && Array.isArray(targets) ? (targets as Partial<Ref>[]) : []
  const wanted = refs.map((ref): Ancestor<C> => {
    const { group = '', kind = '', name = '' } = ref
    const ancestorRef = { group, kind, name }
    const known = before.find(
      (entry) => isOurs(entry) && isSame(entry.ancestorRef, ancestorRef),
    )
    return { ancestorRef, controllerName, conditions: make(known?.conditions ?? []) }
  })
  const kept = before.flatMap((entry): Ancestor<C>[] => {
    if (!isOurs(entry)) return [entry]
    const mine = wanted.find(({ ancestorRef }) => isSame(ancestorRef, entry.ancestorRef))
    return mine === undefined ? [] : [mine]
  })
  return [...kept, ...wanted.filter((entry) => !kept.includes(entry))].slice(
    0,
    maxAncestors,
  )
}

function isSame(a: Ref, b: Ref): boolean {
  return a.group === b.group && a.kind === b.kind && a.name === b.name
}
