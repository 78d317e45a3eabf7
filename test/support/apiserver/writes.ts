// SPDX-License-Identifier: Apache-2.0
// Create, update, apply and delete against the store. All synchronous: a write is a transaction.
import type { Admission } from './admission.ts'
import { apply } from './apply.ts'
import { alreadyExists, badRequest, conflict, forbidden, notFound } from './errors.ts'
import { isGone, markDeleted, sameButTimes } from './deletion.ts'
import { newObject, nextObject, now } from './lifecycle.ts'
import { afterUpdate, type Writer } from './managed.ts'
import type { Store } from './store.ts'
import { topologyOf } from './topology.ts'
import {
  apiVersionOf,
  collectionOf,
  keyOf,
  type Json,
  type KubeObject,
  type Resource,
} from './types.ts'

/** Which object a request names. */
export interface Target {
  readonly resource: Resource
  readonly namespace: string | undefined
  readonly name: string
  readonly subresource?: string | undefined
}

/** How a request wants to write. */
export interface WriteOptions {
  readonly manager: string
  readonly dryRun: boolean
  /** `fieldValidation=Strict`: unknown fields are refused instead of dropped. */
  readonly strict: boolean
  /** Looks at what would be stored; throws to refuse it. */
  readonly check?: (object: KubeObject) => void
}

/** The writing half of the server. */
export class Writes {
  readonly #store: Store
  readonly #admission: Admission

  constructor(store: Store, admission: Admission) {
    this.#store = store
    this.#admission = admission
  }

  /** The object, in the version that the request asks for. Throws 404. */
  get(target: Target): KubeObject {
    const { resource, namespace, name } = target
    const found = this.#store.get(collectionOf(resource), keyOf(namespace, name))
    if (found === undefined) throw notFound(resource, name)
    return inVersion(resource, found)
  }

  create(
    resource: Resource,
    namespace: string | undefined,
    object: KubeObject,
    options: WriteOptions,
  ): KubeObject {
    if (namespace !== undefined) this.#checkNamespace(resource, namespace)
    const fresh = this.#admission.admit(
      resource,
      newObject(resource, object, namespace),
      undefined,
      options.strict,
    )
    const { name } = fresh.metadata
    if (this.#store.get(collectionOf(resource), keyOf(namespace, name)) !== undefined)
      throw alreadyExists(resource, name)
    const writer = writerOf(resource, options, undefined)
    const managed = afterUpdate(undefined, fresh, writer, topologyOf(resource), now())
    return this.#put(resource, withManaged(fresh, managed), options)
  }

  /** Replaces the object (or its status). `change` gets the present state and returns what the client sends. */
  update(
    target: Target,
    change: (current: KubeObject) => KubeObject,
    options: WriteOptions,
  ): KubeObject {
    const { resource, subresource } = target
    const current = this.get(target)
    const sent = change(current)
    const next = this.#admission.admit(
      resource,
      nextObject(resource, current, sent, subresource),
      current,
      options.strict,
    )
    const writer = writerOf(resource, options, subresource)
    const before = clearsManaged(sent) ? withManaged(current, []) : current
    const managed = afterUpdate(before, next, writer, topologyOf(resource), now())
    return this.#replace(target, current, withManaged(next, managed), options)
  }

  /** Server-side apply. Returns whether the object was created by it. */
  apply(
    target: Target,
    applied: KubeObject,
    options: WriteOptions & { readonly force: boolean },
  ): { readonly object: KubeObject; readonly created: boolean } {
    const { resource, namespace, name, subresource } = target
    if (applied.metadata.managedFields !== undefined)
      throw badRequest('metadata.managedFields must be nil')
    const key = keyOf(namespace, name)
    const found = this.#store.get(collectionOf(resource), key)
    if (found === undefined && subresource !== undefined) throw notFound(resource, name)
    const live = found === undefined ? undefined : inVersion(resource, found)
    const sentRevision = applied.metadata.resourceVersion
    if (live && sentRevision && sentRevision !== live.metadata.resourceVersion)
      throw conflict(
        ...([resource, name] as const),
        'the object has been modified; please apply your changes to the latest version and try again',
      )
    const writer: Writer = {
      ...writerOf(resource, options, subresource),
      operation: 'Apply',
    }
    const wanted = applicable(resource, applied, target)
    const merged = apply(live, wanted, writer, {
      ...{ force: options.force, topologyOf: topologyOf(resource), time: now() },
    })
    if (live === undefined) {
      if (namespace !== undefined) this.#checkNamespace(resource, namespace)
      const fresh = this.#admission.admit(
        resource,
        newObject(resource, merged, namespace),
        undefined,
        options.strict,
      )
      return { object: this.#put(resource, fresh, options), created: true }
    }
    const current = nextObject(resource, live, merged, subresource)
    const next = withManaged(
      this.#admission.admit(resource, current, live, options.strict),
      merged.metadata.managedFields ?? [],
    )
    return { object: this.#replace(target, live, next, options), created: false }
  }

  /** Deletes, or marks for deletion while finalizers (or a pod's grace period) hold it. */
  delete(
    target: Target,
    options: Json,
    write: WriteOptions,
  ): [KubeObject, gone: boolean] {
    const { resource, name } = target
    const current = this.get(target)
    const { metadata } = current
    const wanted = (options['preconditions'] ?? {}) as Json
    for (const field of ['uid', 'resourceVersion'] as const)
      if (wanted[field] !== undefined && wanted[field] !== metadata[field])
        throw conflict(
          ...([resource, name] as const),
          `Precondition failed: ${field} in precondition: ${String(wanted[field])}, in object meta: ${metadata[field]}`,
        )
    const marked = markDeleted(resource, current, options)
    if (isGone(resource, marked)) {
      if (write.dryRun) return [current, true]
      return [this.#remove(target) ?? current, true]
    }
    if (metadata.deletionTimestamp !== undefined) return [current, false]
    return [this.#put(resource, marked, write), false]
  }

  #checkNamespace(resource: Resource, namespace: string): void {
    const object = this.#store.get('/namespaces', keyOf(undefined, namespace))
    if (object === undefined)
      throw notFound({ group: '', plural: 'namespaces' }, namespace)
    if (object.metadata.deletionTimestamp !== undefined)
      throw forbidden(
        `${resource.plural} is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
        { causes: [{ reason: 'NamespaceTerminating', field: 'metadata.namespace' }] },
      )
  }

  #replace(
    target: Target,
    current: KubeObject,
    next: KubeObject,
    options: WriteOptions,
  ): KubeObject {
    if (sameButTimes(current, next)) return current
    if (next.metadata.deletionTimestamp !== undefined && isGone(target.resource, next)) {
      if (options.dryRun) return next
      this.#put(target.resource, next, options)
      return inVersion(target.resource, this.#remove(target) ?? next)
    }
    return this.#put(target.resource, next, options)
  }

  #put(resource: Resource, object: KubeObject, options: WriteOptions): KubeObject {
    options.check?.(object)
    if (options.dryRun) return object
    const { namespace, name } = object.metadata
    const stored = this.#store.put(collectionOf(resource), keyOf(namespace, name), object)
    return inVersion(resource, stored)
  }

  #remove({ resource, namespace, name }: Target): KubeObject | undefined {
    return this.#store.remove(collectionOf(resource), keyOf(namespace, name))
  }
}

/** The object in the version of a resource: conversion strategy None changes nothing but the name of the version. */
export const inVersion = (resource: Resource, object: KubeObject): KubeObject => ({
  ...object,
  apiVersion: apiVersionOf(resource.group, resource.version),
})

const writerOf = (
  resource: Resource,
  options: WriteOptions,
  subresource: string | undefined,
): Writer => ({
  manager: options.manager,
  operation: 'Update',
  apiVersion: apiVersionOf(resource.group, resource.version),
  ...(subresource === undefined ? {} : { subresource }),
})

const withManaged = (
  object: KubeObject,
  managedFields: NonNullable<KubeObject['metadata']['managedFields']>,
): KubeObject => ({ ...object, metadata: { ...object.metadata, managedFields } })

/** `managedFields: [{}]` asks to forget all owners. */
const clearsManaged = ({ metadata }: KubeObject): boolean =>
  metadata.managedFields?.length === 1 &&
  Object.keys(metadata.managedFields[0] ?? {}).length === 0

/** What of an applied object this resource or subresource takes; it neither sets nor owns the rest. */
function applicable(resource: Resource, applied: KubeObject, target: Target): KubeObject {
  const { name, namespace } = target
  const identity = { name, ...(namespace === undefined ? {} : { namespace }) }
  if (target.subresource === 'status') {
    const { apiVersion, kind, status } = applied
    return { apiVersion, kind, metadata: identity, ...(status && { status }) }
  }
  const rest = { ...applied, metadata: { ...applied.metadata, ...identity } }
  if (resource.hasStatus) delete rest.status
  if (resource.crd === undefined && resource.plural !== 'namespaces') return rest
  return rest
}
