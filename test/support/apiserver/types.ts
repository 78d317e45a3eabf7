// SPDX-License-Identifier: Apache-2.0
// What the parts of the stand-in hand to each other.

/** Any JSON object. */
export type Json = Record<string, unknown>

/** One entry of `metadata.managedFields`. */
export interface ManagedFieldsEntry {
  manager: string
  operation: 'Apply' | 'Update'
  apiVersion: string
  time: string
  fieldsType: 'FieldsV1'
  fieldsV1: Json
  subresource?: string
}

/** `metadata` of an object, as far as the server itself reads or writes it. */
export interface Meta {
  name: string
  namespace?: string
  generateName?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  ownerReferences?: Json[]
  managedFields?: ManagedFieldsEntry[]
  [field: string]: unknown
}

/** An object of any kind. What the store has handed out is never changed: copy first. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: Meta
  spec?: Json
  status?: Json
  [field: string]: unknown
}

/** One served kind in one version. */
export interface Resource {
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly singular: string
  readonly kind: string
  readonly namespaced: boolean
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  /** `/status` exists: the main resource ignores `status`, and `/status` all else. */
  readonly hasStatus: boolean
  /** The definition that serves it; absent for kinds that are built in. */
  readonly crd?: KubeObject
}

/** Who asks, as a TokenReview would say it. */
export interface User {
  readonly username: string
  readonly uid?: string
  readonly groups: readonly string[]
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

/** Where the objects of a resource are kept: all versions of a kind share one place. */
export const collectionOf = (resource: Pick<Resource, 'group' | 'plural'>): string =>
  `${resource.group}/${resource.plural}`

/** The key of an object in its collection; sorts as the keys of etcd do. */
export const keyOf = (namespace: string | undefined, name: string): string =>
  `${namespace ?? ''}/${name}`

/** `apiVersion` of a group and version. */
export const apiVersionOf = (group: string, version: string): string =>
  group === '' ? version : `${group}/${version}`

/** Whether a value is a JSON object (and not a list). */
export const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
