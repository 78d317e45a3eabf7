// SPDX-License-Identifier: Apache-2.0
// One request as the verbs see it: who, what, and what was sent.
import { parse } from 'yaml'
import type { Tokens } from './auth.ts'
import { badRequest, unsupportedMediaType } from './errors.ts'
import { checkGrant } from './rbac.ts'
import type { RequestInfo } from './request.ts'
import type { Resources } from './resources.ts'
import type { Store } from './store.ts'
import { isJson, type Json, type KubeObject, type User } from './types.ts'
import type { WriteOptions, Writes } from './writes.ts'

/** What was sent. */
export interface Call {
  readonly info: RequestInfo
  readonly user: User
  readonly contentType: string
  readonly userAgent: string
  readonly body: string
}

/** What the requests work on. */
export interface Parts {
  readonly store: Store
  readonly resources: Resources
  readonly writes: Writes
  readonly tokens: Tokens
  /** Whether the RBAC objects in the store are obeyed. */
  readonly rbac: boolean
}

/** How the request wants to write. */
export const writeOptions = (
  parts: Parts,
  { info, user, userAgent }: Call,
): WriteOptions => ({
  manager: info.query.get('fieldManager') ?? (userAgent.split('/')[0] || 'unknown'),
  dryRun: info.query.get('dryRun') === 'All',
  strict: info.query.get('fieldValidation') === 'Strict',
  ...(parts.rbac && info.group === 'rbac.authorization.k8s.io'
    ? { check: (object: KubeObject) => checkGrant(parts.store, user, object) }
    : {}),
})

/** The body as JSON or YAML. Throws 415 and 400. */
export function parsed(call: Call): unknown {
  const { body, contentType } = call
  if (body === '') return {}
  if (!/[/+](json|yaml)$/.test(contentType))
    throw unsupportedMediaType(contentType, 'application/json, application/yaml')
  try {
    return contentType.endsWith('yaml') ? parse(body) : JSON.parse(body)
  } catch (error) {
    throw badRequest(`the body is not ${contentType}: ${(error as Error).message}`)
  }
}

/** The body, which must be an object. */
export function jsonIn(call: Call): Json {
  const value = parsed(call)
  if (!isJson(value)) throw badRequest('the body is no object')
  return value
}

/** The body as an object of Kubernetes. */
export function objectIn(call: Call): KubeObject {
  const object = jsonIn(call)
  return { ...object, metadata: object['metadata'] ?? {} } as KubeObject
}
