// SPDX-License-Identifier: Apache-2.0
// Who asks: bearer tokens. Tokens are given out by the tests' kubeconfigs and by TokenRequest, as for a pod's service account.
import { randomBytes, randomUUID } from 'node:crypto'
import { ApiError, badRequest } from './errors.ts'
import type { Store } from './store.ts'
import { keyOf, type Json, type KubeObject, type User } from './types.ts'

interface Issued {
  readonly user: User
  readonly audiences: readonly string[]
  /** The token dies with this object. */
  readonly boundTo?: { readonly key: string; readonly uid: string }
  readonly expiresMs: number
}

/** The API server's own audience. */
export const ownAudience = 'https://kubernetes.default.svc'

/** A user as the server would know it: service accounts and everyone signed in have their groups. */
export function userNamed(username: string, groups: readonly string[] = []): User {
  const [, , namespace] = /^(system:serviceaccount):([^:]+):/.exec(username) ?? []
  const own =
    namespace === undefined
      ? []
      : ['system:serviceaccounts', `system:serviceaccounts:${namespace}`]
  const admin = username === 'admin' ? ['system:masters'] : []
  return {
    username,
    groups: [...new Set([...groups, ...own, ...admin, 'system:authenticated'])],
  }
}

/** The tokens that are valid. */
export class Tokens {
  readonly #store: Store
  readonly #issued = new Map<string, Issued>()

  constructor(store: Store) {
    this.#store = store
  }

  /** Makes a token valid (a random one, unless given). */
  issue(
    user: User,
    options: { token?: string; audiences?: readonly string[] } = {},
  ): string {
    const token = options.token ?? randomBytes(24).toString('base64url')
    const audiences = options.audiences ?? [ownAudience]
    this.#issued.set(token, { user, audiences, expiresMs: Infinity })
    return token
  }

  revoke(token: string): void {
    this.#issued.delete(token)
  }

  /** The holder of a token, if it is valid for one of the audiences. */
  find(
    token: string,
    audiences: readonly string[] = [ownAudience],
  ): { readonly user: User; readonly audiences: readonly string[] } | undefined {
    const issued = this.#issued.get(token)
    if (issued === undefined || issued.expiresMs < Date.now()) return undefined
    const { boundTo } = issued
    const bound = boundTo && this.#store.get('/pods', boundTo.key)
    if (boundTo !== undefined && bound?.metadata.uid !== boundTo.uid) return undefined
    const common = issued.audiences.filter((audience) => audiences.includes(audience))
    return common.length === 0 ? undefined : { user: issued.user, audiences: common }
  }

  /** The user behind an Authorization header. Throws 401. */
  authenticate(header: string | undefined): User {
    const found = this.find(/^Bearer (.+)$/i.exec(header ?? '')?.[1] ?? '')
    if (found === undefined) throw new ApiError(401, 'Unauthorized', 'Unauthorized')
    return found.user
  }

  /** Answers a TokenReview. */
  review(review: Json): Json {
    const spec = (review['spec'] ?? {}) as { token?: string; audiences?: string[] }
    const found = this.find(
      spec.token ?? '',
      spec.audiences?.length ? spec.audiences : undefined,
    )
    const status =
      found === undefined
        ? {
            user: {},
            error: '[invalid bearer token, unknown, expired or of another audience]',
          }
        : { authenticated: true, user: found.user, audiences: found.audiences }
    return { ...review, metadata: review['metadata'] ?? {}, status }
  }

  /** Answers a TokenRequest (`serviceaccounts/NAME/token`); a pod that it is bound to is named in the user's extra. */
  request(account: KubeObject, request: Json): Json {
    const spec = (request['spec'] ?? {}) as {
      audiences?: string[]
      expirationSeconds?: number
      boundObjectRef?: { kind: string; name: string; uid?: string }
    }
    const { namespace = '', name, uid = '' } = account.metadata
    const reference = spec.boundObjectRef
    const extra: Record<string, readonly string[]> = {
      'authentication.kubernetes.io/credential-id': [`JTI=${randomUUID()}`],
    }
    let boundTo: Issued['boundTo']
    if (reference !== undefined) {
      if (reference.kind !== 'Pod')
        throw badRequest(`cannot bind token to ${reference.kind}`)
      const key = keyOf(namespace, reference.name)
      const pod = this.#store.get('/pods', key)
      if (pod?.metadata.uid === undefined || pod.spec?.['serviceAccountName'] !== name)
        throw badRequest(
          `cannot bind token for serviceaccount "${name}" to pod "${reference.name}"`,
        )
      if (reference.uid !== undefined && reference.uid !== pod.metadata.uid)
        throw badRequest(
          `the UID in the bound object reference (${reference.uid}) does not match`,
        )
      boundTo = { key, uid: pod.metadata.uid }
      const prefix = 'authentication.kubernetes.io'
      extra[`${prefix}/pod-name`] = [reference.name]
      extra[`${prefix}/pod-uid`] = [pod.metadata.uid]
      const nodeName = pod.spec['nodeName']
      if (typeof nodeName === 'string') {
        extra[`${prefix}/node-name`] = [nodeName]
        const node = this.#store.get('/nodes', keyOf(undefined, nodeName))
        if (node?.metadata.uid !== undefined)
          extra[`${prefix}/node-uid`] = [node.metadata.uid]
      }
    }
    const user = {
      ...userNamed(`system:serviceaccount:${namespace}:${name}`),
      uid,
      extra,
    }
    const token = randomBytes(32).toString('base64url')
    const audiences = spec.audiences?.length ? spec.audiences : [ownAudience]
    const expiresMs = Date.now() + (spec.expirationSeconds ?? 3600) * 1000
    this.#issued.set(token, { user, audiences, expiresMs, ...(boundTo && { boundTo }) })
    const status = { token, expirationTimestamp: new Date(expiresMs).toISOString() }
    return { ...request, spec: { ...spec, audiences }, status }
  }
}
