// SPDX-License-Identifier: Apache-2.0
// What of an object counts: whether a write changes anything, and what a deletion does to it. Pure.
import { canonical } from './fieldset.ts'
import { now } from './lifecycle.ts'
import type { Json, KubeObject, Resource } from './types.ts'

/** Whether two states differ in nothing but the times of their owners: such a write makes no new revision. */
export function sameButTimes(a: KubeObject, b: KubeObject): boolean {
  const strip = (object: KubeObject): unknown => ({
    ...object,
    metadata: {
      ...object.metadata,
      managedFields:
        object.metadata.managedFields?.map((e) => ({ ...e, time: '' })) ?? [],
    },
  })
  return canonical(strip(a)) === canonical(strip(b))
}

/** The object as a deletion with these options leaves it. */
export function markDeleted(
  resource: Resource,
  current: KubeObject,
  options: Json,
): KubeObject {
  const { metadata } = current
  const policy = options['propagationPolicy']
  const finalizers = new Set(metadata.finalizers ?? [])
  if (policy === 'Foreground') finalizers.add('foregroundDeletion')
  if (policy === 'Orphan') finalizers.add('orphan')
  // A pod on a node goes when its kubelet says so: that deletes it with grace period 0.
  const isOnNode =
    resource.group === '' && resource.plural === 'pods' && current.spec?.['nodeName']
  const seconds = isOnNode
    ? Number(
        options['gracePeriodSeconds'] ?? current.spec?.['terminationGracePeriodSeconds'],
      )
    : 0
  const generation = metadata.generation
  const next: KubeObject = {
    ...current,
    metadata: {
      ...metadata,
      ...(finalizers.size > 0 ? { finalizers: [...finalizers] } : {}),
      ...(generation === undefined ? {} : { generation: generation + 1 }),
      deletionTimestamp: now(),
      deletionGracePeriodSeconds: seconds,
    },
  }
  if (resource.group === '' && resource.plural === 'namespaces')
    next.status = { ...current.status, phase: 'Terminating' }
  return next
}

/** Nothing holds a deleted object any more. */
export const isGone = (resource: Resource, { metadata, spec }: KubeObject): boolean =>
  (metadata.finalizers ?? []).length === 0 &&
  (metadata.deletionGracePeriodSeconds ?? 0) === 0 &&
  !(
    resource.group === '' &&
    resource.plural === 'namespaces' &&
    ((spec?.['finalizers'] ?? []) as string[]).length > 0
  )
