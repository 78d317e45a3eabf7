// SPDX-License-Identifier: Apache-2.0
// Who may what: RBAC, access reviews, the tokens of service accounts.
import type { Test } from 'tap'
import type { ApiServer, Client, Json } from '../support/apiserver/index.ts'
import {
  againstEach,
  configMap,
  eventually,
  namespace,
  object,
} from './support/servers.ts'

const rbac = 'rbac.authorization.k8s.io'

againstEach(async (t, server) => {
  await t.test('rules', (t) => rules(t, server))
  await t.test('nobody gives away what they have not', (t) => escalation(t, server))
  await t.test('tokens of pods', (t) => tokens(t, server))
})

async function grant(
  client: Client,
  at: string,
  name: string,
  granted: Json[],
  subject: Json,
): Promise<void> {
  const apiVersion = `${rbac}/v1`
  const metadata = { name }
  object(
    await client.create(`/apis/${rbac}/v1/namespaces/${at}/roles`, {
      ...{ apiVersion, kind: 'Role', metadata, rules: granted },
    }),
  )
  object(
    await client.create(`/apis/${rbac}/v1/namespaces/${at}/rolebindings`, {
      ...{ apiVersion, kind: 'RoleBinding', metadata, subjects: [subject] },
      roleRef: { apiGroup: rbac, kind: 'Role', name },
    }),
  )
}

async function rules(t: Test, server: ApiServer): Promise<void> {
  const admin = server.client()
  const at = await namespace(admin, 'rules')
  const path = at('configmaps')
  const reader = server.client('system:serviceaccount:rules:reader')
  const denied = await reader.get(path)
  t.match(denied, { code: 403, body: { reason: 'Forbidden' } })
  t.match(
    denied.body['message'],
    'configmaps is forbidden: User "system:serviceaccount:rules:reader" cannot list resource "configmaps" in API group "" in the namespace "rules"',
  )
  t.equal((await reader.get('/version')).code, 200, 'discovery is for everyone')
  const granted = [
    { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'patch'] },
    { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['get'] },
    { apiGroups: ['apps'], resources: ['daemonsets/status'], verbs: ['get'] },
  ]
  const account = { kind: 'ServiceAccount', name: 'reader', namespace: 'rules' }
  await grant(admin, 'rules', 'reader', granted, account)
  await eventually(async () => ((await reader.get(path)).code === 200 ? true : undefined))
  const secret = (name: string): Promise<number> =>
    reader.get(`${at('secrets')}/${name}`).then(({ code }) => code)
  t.equal(await secret('one'), 404)
  t.equal(await secret('two'), 403)
  t.equal((await reader.get('/api/v1/configmaps')).code, 403, 'not in all namespaces')
  t.equal((await reader.create(path, configMap('a'))).code, 403)
  const apply = await reader.apply(`${path}/a`, configMap('a'), 'one')
  t.match(apply, { code: 403, body: { message: /cannot create/ } })
  const sets = '/apis/apps/v1/namespaces/rules/daemonsets'
  t.equal((await reader.get(`${sets}/a`)).code, 403)
  t.equal((await reader.get(`${sets}/a/status`)).code, 404)

  const review = async (resourceAttributes: Json): Promise<unknown> => {
    const reply = await reader.create(
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      {
        ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview' },
        spec: { resourceAttributes },
      },
    )
    return object(reply).status?.['allowed']
  }
  const inRules = { namespace: 'rules', resource: 'configmaps' }
  t.equal(await review({ ...inRules, verb: 'list' }), true)
  t.equal(await review({ ...inRules, verb: 'delete' }), false)
  t.equal(await review({ ...inRules, verb: 'list', namespace: 'default' }), false)
}

async function escalation(t: Test, server: ApiServer): Promise<void> {
  const admin = server.client()
  await namespace(admin, 'escalation')
  const rule = (resources: string[], verbs: string[], apiGroups = ['']): Json => ({
    ...{ apiGroups, resources, verbs },
  })
  const granted = [
    rule(['configmaps'], ['get', 'list']),
    rule(['roles', 'rolebindings'], ['create', 'patch', 'update', 'get'], [rbac]),
  ]
  await grant(admin, 'escalation', 'giver', granted, { kind: 'User', name: 'giver' })
  const giver = server.client('giver')
  const roles = `/apis/${rbac}/v1/namespaces/escalation/roles`
  const role = (name: string, rules: Json[]): Json => ({
    ...{ apiVersion: `${rbac}/v1`, kind: 'Role', metadata: { name }, rules },
  })
  const less = role('less', [rule(['configmaps'], ['get'])])
  await eventually(async () =>
    (await giver.create(roles, less)).code === 201 ? true : undefined,
  )
  const more = await giver.create(roles, role('more', [rule(['secrets'], ['get'])]))
  t.match(more, { code: 403, body: { message: /attempting to grant RBAC permissions/ } })
  const changed = await giver.update(`${roles}/less`, role('less', [rule(['*'], ['*'])]))
  t.equal(changed.code, 403)
  object(await admin.create(roles, role('strong', [rule(['secrets'], ['get'])])))
  const bind = (name: string) =>
    giver.create(`/apis/${rbac}/v1/namespaces/escalation/rolebindings`, {
      ...{ apiVersion: `${rbac}/v1`, kind: 'RoleBinding', metadata: { name } },
      subjects: [{ kind: 'User', name: 'giver' }],
      roleRef: { apiGroup: rbac, kind: 'Role', name },
    })
  t.equal((await bind('strong')).code, 403)
  t.equal((await bind('less')).code, 201)
}

async function tokens(t: Test, server: ApiServer): Promise<void> {
  const client = server.client()
  const at = await namespace(client, 'tokens')
  const account = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'agent' },
  }
  object(await client.create(at('serviceaccounts'), account))
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'token-node' } }
  object(await client.create('/api/v1/nodes', node))
  const pod = object(
    await client.create(at('pods'), {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } },
      spec: {
        ...{ serviceAccountName: 'agent', nodeName: 'token-node' },
        containers: [{ name: 'a', image: 'a' }],
      },
    }),
  )
  const ask = (boundObjectRef: Json) =>
    client.create(`${at('serviceaccounts')}/agent/token`, {
      ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
      spec: { audiences: ['mesh'], expirationSeconds: 600, boundObjectRef },
    })
  const reference = { apiVersion: 'v1', kind: 'Pod', name: 'p' }
  const asked = object(await ask(reference))
  const token = asked.status?.['token']
  const review = async (sent: unknown, audiences: string[]): Promise<Json> => {
    const reply = await client.create('/apis/authentication.k8s.io/v1/tokenreviews', {
      ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
      spec: { token: sent, audiences },
    })
    return object(reply).status ?? {}
  }
  t.match(await review(token, ['mesh', 'other']), {
    ...{ authenticated: true, audiences: ['mesh'] },
    user: {
      username: 'system:serviceaccount:tokens:agent',
      groups: [
        'system:serviceaccounts',
        'system:serviceaccounts:tokens',
        'system:authenticated',
      ],
      extra: {
        'authentication.kubernetes.io/pod-name': ['p'],
        'authentication.kubernetes.io/pod-uid': [pod.metadata.uid],
        'authentication.kubernetes.io/node-name': ['token-node'],
      },
    },
  })
  t.notOk((await review(token, ['other']))['authenticated'], 'of another audience')
  t.notOk((await review('nonsense', ['mesh']))['authenticated'])
  const wrong = await ask({ ...reference, uid: 'other' })
  t.ok(wrong.code >= 400, 'a token is not bound to another pod')
  object(await client.delete(`${at('pods')}/p`, { gracePeriodSeconds: 0 }))
  await eventually(async () =>
    (await review(token, ['mesh']))['authenticated'] === true ? undefined : true,
  )
  t.pass('the token dies with its pod')
}
