// SPDX-License-Identifier: Apache-2.0
// The controllers behind CustomResourceDefinitions: accept names and establish, and on deletion remove the instances first.
import { isDeepStrictEqual } from 'node:util'
import { now } from './lifecycle.ts'
import { conditionOf, crdCollection, resourcesOfCrd } from './resources.ts'
import type { Store } from './store.ts'
import {
  collectionOf,
  keyOf,
  type Json,
  type KubeObject,
  type Resource,
} from './types.ts'
import type { Writes } from './writes.ts'

const options = { manager: 'kube-apiserver', dryRun: false, strict: false }

const condition = (type: string, reason: string, message: string): Json => ({
  ...{ type, status: 'True', lastTransitionTime: now(), reason, message },
})

function established(crd: KubeObject): KubeObject {
  const names = crd.spec?.['names']
  if (
    conditionOf(crd, 'Established') !== undefined &&
    isDeepStrictEqual(crd.status?.['acceptedNames'], names)
  )
    return crd
  const versions = (crd.spec?.['versions'] as Json[]).filter((v) => v['storage'] === true)
  return {
    ...crd,
    status: {
      conditions: [
        condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
        condition(
          'Established',
          'InitialNamesAccepted',
          'the initial names have been accepted',
        ),
      ],
      acceptedNames: names,
      storedVersions: versions.map((v) => v['name']),
    },
  }
}

/** Keeps definitions up to date; `onGone` is told when a kind is no longer served. */
export function runCrdControllers(
  store: Store,
  writes: Writes,
  definitions: Resource,
  onGone: (collection: string) => void,
): () => void {
  const reconcile = (name: string): void => {
    const crd = store.get(crdCollection, keyOf(undefined, name))
    if (crd === undefined) return
    const target = { resource: definitions, namespace: undefined, name }
    if (crd.metadata.deletionTimestamp === undefined) {
      writes.update({ ...target, subresource: 'status' }, established, options)
      return
    }
    for (const resource of resourcesOfCrd(crd).slice(0, 1)) {
      for (const [, { metadata }] of store.list(collectionOf(resource)) ?? []) {
        if (metadata.deletionTimestamp !== undefined) continue
        const { name, namespace } = metadata
        writes.delete({ resource, name, namespace }, {}, options)
      }
      if ((store.list(collectionOf(resource)) ?? []).length > 0) return
    }
    const kept = crd.metadata.finalizers?.filter(
      (f) => !f.startsWith('customresourcecleanup.'),
    )
    const done = { ...crd, metadata: { ...crd.metadata, finalizers: kept ?? [] } }
    if (kept?.length !== crd.metadata.finalizers?.length)
      writes.update(target, () => done, options)
  }
  const later = (name: string): void => void setImmediate(() => reconcile(name)).unref()
  return store.subscribe((change) => {
    const { group = '', names } = (change.object.spec ?? {}) as {
      group?: string
      names: Json
    }
    if (change.collection !== crdCollection) {
      if (change.type === 'DELETED' && change.collection.includes('.')) {
        const [own = '', plural = ''] = change.collection.split('/')
        later(`${plural}.${own}`)
      }
    } else if (change.type === 'DELETED') onGone(`${group}/${names['plural'] as string}`)
    else later(change.object.metadata.name)
  })
}
