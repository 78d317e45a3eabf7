// SPDX-License-Identifier: Apache-2.0
// EndpointSlices into an API server that has no controller for them.
import { keyOf, type KubeObject, type ServiceObject } from '../types.ts'
import type { Cache } from './cache.ts'
import type { Writer } from './writer.ts'

const managedBy = 'endpointslice.kubernetes.io/managed-by'
/** The name of the controller that we stand in for: if it comes later, they are its own. */
const sliceController = 'endpointslice-controller.k8s.io'

/** Writes these, and deletes all others of the controller; slices that people wrote stay. */
export function publishSlices(
  cache: Cache,
  writer: Writer,
  slices: readonly KubeObject[],
): void {
  const wanted = new Set<string>()
  for (const slice of slices) {
    if (!hasFamily(cache, slice)) continue
    const key = keyOf(slice)
    wanted.add(key)
    writer.put(key, JSON.stringify(slice), () => writer.apply(slice))
  }
  const present = new Set<string>()
  for (const slice of cache.list('EndpointSlice')) {
    const key = keyOf(slice)
    present.add(key)
    if (slice.metadata.labels?.[managedBy] !== sliceController || wanted.has(key))
      continue
    writer.put(key, `delete ${slice.metadata.uid}`, () => writer.delete(slice))
  }
  for (const key of writer.keys('endpointslice/')) {
    if (!wanted.has(key) && !present.has(key)) writer.forget(key)
  }
}

/** Whether the slice's Service has addresses of its family. */
function hasFamily(cache: Cache, slice: KubeObject): boolean {
  const name = slice.metadata.labels?.['kubernetes.io/service-name'] ?? ''
  const { namespace = 'default' } = slice.metadata
  const service = cache.get('Service', namespace, name) as ServiceObject | undefined
  return service?.spec.ipFamilies?.includes(String(slice['addressType'])) ?? true
}
