// SPDX-License-Identifier: Apache-2.0
// Questions that are asked by creating an object: who is this token, may I.
import { jsonIn, type Call, type Parts } from './call.ts'
import { isAllowed, type Access } from './rbac.ts'
import type { Json } from './types.ts'

/** The answer to a review; undefined if the request is none. */
export function answerReview(parts: Parts, call: Call): Json | undefined {
  const { group, version, plural } = call.info
  const path = `${group}/${version}/${plural}`
  if (path === 'authentication.k8s.io/v1/tokenreviews')
    return parts.tokens.review(jsonIn(call))
  if (path === 'authentication.k8s.io/v1/selfsubjectreviews')
    return { ...jsonIn(call), status: { userInfo: call.user } }
  const isSelf = path === 'authorization.k8s.io/v1/selfsubjectaccessreviews'
  if (!isSelf && path !== 'authorization.k8s.io/v1/subjectaccessreviews') return undefined
  const review = jsonIn(call)
  const spec = review['spec'] as {
    resourceAttributes?: Partial<Access>
    nonResourceAttributes?: { path: string; verb: string }
    user?: string
    groups?: string[]
  }
  const user = isSelf
    ? call.user
    : { username: spec.user ?? '', groups: spec.groups ?? [] }
  const asked = spec.resourceAttributes ?? spec.nonResourceAttributes
  const namespace = spec.resourceAttributes?.namespace || undefined
  const access = { verb: '', group: '', resource: '', ...asked, namespace }
  const allowed = !parts.rbac || isAllowed(parts.store, user, access)
  return { ...review, status: { allowed } }
}
