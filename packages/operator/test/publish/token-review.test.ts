// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// Tokens of service accounts at an API server, with no more rights than the operator has.
import { status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import {
  apiServers,
  startApiServer,
  userNamed,
  type ApiServer,
} from '../../../../test/support/apiserver/index.ts'
import { AuthError } from '../../src/publish/authenticate.ts'
import { tokenAudience, tokenReview } from '../../src/publish/token-review.ts'
import type { ApiRequest } from '../../src/watch/client.ts'
import { clientOf, create, grant, type Created } from '../support/create.ts'

const namespace = 'pillion'

/** A namespace with the service accounts of node pods and of somebody else, and what the operator may do. */
async function prepare(t: Test, server: ApiServer) {
  t.teardown(() => server.close())
  const admin = server.client()
  await create(admin, 'Namespace', '', namespace)
  await create(admin, 'Node', '', 'node-1')
  for (const name of ['pillion-node', 'other'])
    await create(admin, 'ServiceAccount', namespace, name)
  const reviews = { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'] }
  const rules = [{ ...reviews, verbs: ['create'] }]
  await grant(admin, namespace, 'pillion-operator', rules, true)
  await grant(admin, namespace, 'pillion-operator', [
    { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
  ])
  const pod = (name: string, serviceAccountName = 'pillion-node'): Promise<Created> =>
    create(admin, 'Pod', namespace, name, {
      spec: {
        ...{ serviceAccountName, nodeName: 'node-1' },
        containers: [{ name: 'agent', image: 'agent' }],
      },
    })
  const token = async (
    podName: string | undefined,
    account = 'pillion-node',
    audience = tokenAudience,
  ): Promise<string> => {
    const bound = { apiVersion: 'v1', kind: 'Pod', name: podName }
    const { code, body } = await admin.create(
      `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
      {
        ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
        spec: {
          ...{ audiences: [audience], expirationSeconds: 600 },
          ...(podName !== undefined && { boundObjectRef: bound }),
        },
      },
    )
    if (code !== 201) throw new Error(`token: ${code} ${JSON.stringify(body)}`)
    return (body['status'] as { token: string }).token
  }
  const client = clientOf(t, server, namespace, 'pillion-operator')
  return { admin, pod, token, client }
}

const signal = new AbortController().signal

async function refusal(attempt: Promise<unknown>): Promise<string> {
  const error = await attempt.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(error instanceof AuthError)) return String(error)
  return `${status[error.code]}: ${error.message}`
}

for (const { name, start } of apiServers()) {
  t.test(name, async (t) => {
    const { admin, pod, token, client } = await prepare(t, await start())
    const review = tokenReview({ client, namespace })
    await pod('pillion-node-abc')
    const good = await token('pillion-node-abc')
    const identity = {
      ...{ node: 'node-1', podName: 'pillion-node-abc' },
      serviceAccount: 'pillion/pillion-node',
    }
    t.same(await review(good, signal), identity)

    await pod('other', 'other')
    t.match(
      await refusal(review(await token('other', 'other'), signal)),
      'PERMISSION_DENIED: only system:serviceaccount:pillion:pillion-node may subscribe',
    )
    t.match(
      await refusal(review(await token(undefined), signal)),
      'PERMISSION_DENIED: the token is not bound to a pod',
    )
    const forOthers = await token('pillion-node-abc', 'pillion-node', 'vault')
    t.match(await refusal(review(forOthers, signal)), 'UNAUTHENTICATED: the token is not')
    const nonsense = await refusal(review('sesame', signal))
    t.match(nonsense, 'UNAUTHENTICATED: the token is not valid')
    t.notMatch(nonsense, 'sesame')

    await admin.delete(`/api/v1/namespaces/${namespace}/pods/pillion-node-abc`, {
      gracePeriodSeconds: 0,
    })
    t.match(
      await refusal(review(good, signal)),
      'UNAUTHENTICATED: the token is not valid',
    )
  })
}

t.test('an API server that does not name the node: the pod says it', async (t) => {
  const server = await startApiServer()
  const { pod, client } = await prepare(t, server)
  const made = await pod('old')
  const user = userNamed('system:serviceaccount:pillion:pillion-node')
  const tokenFor = (podName: string, uid: string): string => {
    const extra = {
      'authentication.kubernetes.io/pod-name': [podName],
      'authentication.kubernetes.io/pod-uid': [uid],
    }
    return server.issueToken({ ...user, extra }, { audiences: [tokenAudience] })
  }
  const review = tokenReview({ client, namespace })
  t.match(await review(tokenFor('old', made.metadata.uid), signal), { node: 'node-1' })
  for (const token of [tokenFor('old', 'another uid'), tokenFor('gone', 'x')])
    t.match(await refusal(review(token, signal)), 'PERMISSION_DENIED: pod pillion/')
})

t.test('what the API server does not answer is no verdict', async (t) => {
  const server = await startApiServer()
  const { pod, token, client } = await prepare(t, server)
  await pod('p')
  const good = await token('p')
  const review = tokenReview({ client, namespace })
  server.failNext(1, 503)
  t.match(await refusal(review(good, signal)), /^ApiError: POST .*503/)
  const powerless = clientOf(t, server, namespace, 'other')
  const denied = tokenReview({ client: powerless, namespace })
  t.match(await refusal(denied(good, signal)), /^ApiError: .*403 .*tokenreviews/)
  await server.stop()
  t.match(await refusal(review(good, signal)), /^ApiError: /)
})

t.test('an authenticator that knows no audiences is not believed', async (t) => {
  const client = {
    request: async <T>(_: ApiRequest): Promise<T> =>
      ({
        status: {
          authenticated: true,
          user: { username: 'system:serviceaccount:pillion:pillion-node' },
        },
      }) as T,
  }
  const text = await refusal(tokenReview({ client, namespace })('x', signal))
  t.match(text, 'UNAUTHENTICATED: the token is not for audience pillion-operator')
})
