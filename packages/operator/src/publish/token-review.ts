// SPDX-License-Identifier: Apache-2.0
// Asks the API server whose token this is: authentication.k8s.io/v1 TokenReview. It knows what no signature shows: a token
// that is bound to a pod ends with that pod.
import { status } from '@grpc/grpc-js'
import { ApiError, type ApiClient } from '../watch/client.ts'
import { AuthError, type Identity } from './authenticate.ts'
import type { Review } from './token-gate.ts'

/** Audience of the tokens of node pods: a token for the API server, stolen elsewhere, opens nothing here. */
export const tokenAudience = 'pillion-operator'

export interface TokenReviewOptions {
  readonly client: Pick<ApiClient, 'request'>
  /** Namespace of the operator and of its node pods. */
  readonly namespace: string
  /** Service account of the node pods; default `pillion-node`. */
  readonly serviceAccount?: string
  readonly audience?: string
}

/** TokenReviewStatus, as far as it is looked at. */
interface ReviewStatus {
  readonly authenticated?: boolean
  readonly error?: string
  readonly audiences?: readonly string[]
  readonly user?: {
    readonly username?: string
    readonly extra?: Readonly<Record<string, readonly string[]>>
  }
}

interface PodObject {
  readonly metadata?: { readonly uid?: string }
  readonly spec?: { readonly nodeName?: string }
}

const extraPrefix = 'authentication.kubernetes.io'

/**
 * A Review by the API server. Needs `create` on tokenreviews and, for API servers before 1.30 that do not name the node of a
 * token, `get` on pods of the namespace. Only the service account of the node pods is let in.
 */
export function tokenReview(options: TokenReviewOptions): Review {
  const { client, namespace, audience = tokenAudience } = options
  const account = `${namespace}/${options.serviceAccount ?? 'pillion-node'}`
  const user = `system:serviceaccount:${account.replace('/', ':')}`
  return async (token, signal) => {
    const answer = await client.request<{ readonly status?: ReviewStatus }>({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [audience] },
      },
      signal,
    })
    const review = answer.status ?? {}
    if (review.authenticated !== true) {
      const why = (review.error ?? 'no reason was given').replaceAll(token, '…')
      throw new AuthError(status.UNAUTHENTICATED, `the token is not valid: ${why}`)
    }
    // An authenticator that knows no audiences answers without any: then the token may be for anybody.
    if (review.audiences?.includes(audience) !== true) {
      const text = `the token is not for audience ${audience}`
      throw new AuthError(status.UNAUTHENTICATED, text)
    }
    if (review.user?.username !== user) {
      const text = `only ${user} may subscribe, and the token is of ${review.user?.username ?? 'nobody'}`
      throw new AuthError(status.PERMISSION_DENIED, text)
    }
    return identityOf(review.user.extra ?? {}, { client, namespace, account, signal })
  }
}

async function identityOf(
  extra: Readonly<Record<string, readonly string[]>>,
  context: {
    readonly client: TokenReviewOptions['client']
    readonly namespace: string
    readonly account: string
    readonly signal: AbortSignal
  },
): Promise<Identity> {
  const { client, namespace, account: serviceAccount, signal } = context
  const podName = extra[`${extraPrefix}/pod-name`]?.[0]
  const uid = extra[`${extraPrefix}/pod-uid`]?.[0]
  if (podName === undefined || uid === undefined) {
    const text = 'the token is not bound to a pod: use a projected serviceAccountToken'
    throw new AuthError(status.PERMISSION_DENIED, text)
  }
  const named = extra[`${extraPrefix}/node-name`]?.[0]
  if (named !== undefined) return { node: named, podName, serviceAccount }
  const path = `/api/v1/namespaces/${namespace}/pods/${encodeURIComponent(podName)}`
  const pod = await client
    .request<PodObject>({ path, signal })
    .catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) return undefined
      throw error
    })
  const node = pod?.spec?.nodeName
  if (pod?.metadata?.uid !== uid || node === undefined || node === '') {
    const text = `pod ${namespace}/${podName} is not the one that the token is bound to, or has no node`
    throw new AuthError(status.PERMISSION_DENIED, text)
  }
  return { node, podName, serviceAccount }
}
