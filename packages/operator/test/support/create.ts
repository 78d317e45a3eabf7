// SPDX-License-Identifier: Apache-2.0
// Objects at an API server for tests of what the operator may do.
import { KubeConfig } from '@kubernetes/client-node'
import type { Test } from 'tap'
import type { ApiServer, Client } from '../../../../test/support/apiserver/index.ts'
import { ApiClient } from '../../src/watch/client.ts'

const kinds = {
  Namespace: ['v1', 'namespaces'],
  Node: ['v1', 'nodes'],
  Pod: ['v1', 'pods'],
  ServiceAccount: ['v1', 'serviceaccounts'],
  ClusterRole: ['rbac.authorization.k8s.io/v1', 'clusterroles'],
  ClusterRoleBinding: ['rbac.authorization.k8s.io/v1', 'clusterrolebindings'],
  Role: ['rbac.authorization.k8s.io/v1', 'roles'],
  RoleBinding: ['rbac.authorization.k8s.io/v1', 'rolebindings'],
} as const

export interface Created {
  readonly metadata: { readonly uid: string }
}

/** Creates an object; `namespace` '' for kinds without one. Throws what the server answers. */
export async function create(
  admin: Client,
  kind: keyof typeof kinds,
  namespace: string,
  name: string,
  rest: object = {},
): Promise<Created> {
  const [apiVersion, plural] = kinds[kind]
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const path = `${root}${namespace === '' ? '' : `/namespaces/${namespace}`}/${plural}`
  const { code, body } = await admin.create(path, {
    ...{ apiVersion, kind, metadata: { name, ...(namespace && { namespace }) } },
    ...rest,
  })
  if (code !== 201) throw new Error(`${path}: ${code} ${JSON.stringify(body)}`)
  return body as unknown as Created
}

/** Gives a service account of `namespace` the rules of a role; `isCluster`: in all namespaces. */
export async function grant(
  admin: Client,
  namespace: string,
  account: string,
  rules: readonly object[],
  isCluster = false,
): Promise<void> {
  const [role, binding, where] = isCluster
    ? (['ClusterRole', 'ClusterRoleBinding', ''] as const)
    : (['Role', 'RoleBinding', namespace] as const)
  await create(admin, role, where, account, { rules })
  await create(admin, binding, where, account, {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role, name: account },
    subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
  })
}

/** The operator's client as a service account. Closed with the test. */
export function clientOf(
  t: Test,
  server: ApiServer,
  namespace: string,
  account: string,
): ApiClient {
  const config = new KubeConfig()
  config.loadFromString(
    server.kubeconfig(`system:serviceaccount:${namespace}:${account}`),
  )
  const client = new ApiClient(config)
  t.teardown(() => client.close())
  return client
}
