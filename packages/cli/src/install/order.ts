// SPDX-License-Identifier: Apache-2.0
// In which order objects are made: what others need first. Pure.
import type { Manifest } from '../cluster/objects.ts'

/** Kinds that others need, the first first; all else comes after, and objects of CRDs last. */
const first = [
  ...['Namespace', 'CustomResourceDefinition', 'PriorityClass', 'ServiceAccount'],
  ...['ClusterRole', 'Role', 'ClusterRoleBinding', 'RoleBinding'],
  ...['ConfigMap', 'Secret', 'Service'],
]

const builtInGroup = /^(v1|(apps|batch|policy|autoscaling)\/.*|[^/]+\.k8s\.io\/.*)$/

function rank({ apiVersion, kind }: Manifest): number {
  const known = first.indexOf(kind)
  if (known !== -1) return known
  return builtInGroup.test(apiVersion) ? first.length : first.length + 1
}

/** Sorted for making; within a rank as they were. */
export function inOrder(objects: readonly Manifest[]): Manifest[] {
  return objects.toSorted((a, b) => rank(a) - rank(b))
}

/** Key of an object: two manifests of one key are one object. */
export function keyOf({ apiVersion, kind, metadata }: Manifest): string {
  const group = apiVersion.includes('/') ? apiVersion.replace(/\/.*$/, '') : ''
  return `${group}/${kind}/${metadata.namespace ?? ''}/${metadata.name}`
}
