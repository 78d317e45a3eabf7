// SPDX-License-Identifier: Apache-2.0
// May they: rules of the Roles, ClusterRoles and bindings in the store.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/
import type { Store } from './store.ts'
import { keyOf, type Json, type KubeObject, type User } from './types.ts'

/** One question. Paths outside resources have `path` only. */
export interface Access {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string | undefined
  readonly namespace?: string | undefined
  readonly name?: string | undefined
  readonly path?: string
}

interface Rule {
  readonly verbs: readonly string[]
  readonly apiGroups?: readonly string[]
  readonly resources?: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly nonResourceURLs?: readonly string[]
}

const rbac = 'rbac.authorization.k8s.io'
const has = (list: readonly string[] | undefined, value: string): boolean =>
  list?.includes('*') === true || list?.includes(value) === true

/** What the bootstrap policy gives everyone signed in (system:discovery, system:basic-user). */
const everyone: readonly Rule[] = [
  {
    verbs: ['get'],
    nonResourceURLs: [
      ...['/api', '/api/*', '/apis', '/apis/*', '/healthz', '/livez', '/readyz'],
      ...['/openapi', '/openapi/*', '/version', '/version/'],
    ],
  },
  {
    verbs: ['create'],
    apiGroups: ['authorization.k8s.io', 'authentication.k8s.io'],
    resources: [
      'selfsubjectaccessreviews',
      'selfsubjectrulesreviews',
      'selfsubjectreviews',
    ],
  },
]

function covers(rule: Rule, access: Access): boolean {
  if (!has(rule.verbs, access.verb)) return false
  const { path } = access
  if (path !== undefined)
    return (rule.nonResourceURLs ?? []).some(
      (url) =>
        url === '*' ||
        url === path ||
        (url.endsWith('*') && path.startsWith(url.slice(0, -1))),
    )
  const { subresource } = access
  const resource = subresource ? `${access.resource}/${subresource}` : access.resource
  const inResources =
    has(rule.resources, resource) ||
    (subresource !== undefined && rule.resources?.includes(`*/${subresource}`) === true)
  const names = rule.resourceNames ?? []
  return (
    has(rule.apiGroups, access.group) &&
    inResources &&
    (names.length === 0 || (access.name !== undefined && names.includes(access.name)))
  )
}

function isSubject(subject: Json, user: User, namespace: string | undefined): boolean {
  const name = subject['name'] as string
  if (subject['kind'] === 'Group') return user.groups.includes(name)
  if (subject['kind'] === 'User') return user.username === name
  const own = (subject['namespace'] as string | undefined) ?? namespace ?? ''
  return user.username === `system:serviceaccount:${own}:${name}`
}

function rulesOf(store: Store, binding: KubeObject): readonly Rule[] {
  const reference = binding['roleRef'] as { kind: string; name: string }
  const isCluster = reference.kind === 'ClusterRole'
  const namespace = isCluster ? undefined : binding.metadata.namespace
  const role = store.get(
    `${rbac}/${isCluster ? 'clusterroles' : 'roles'}`,
    keyOf(namespace, reference.name),
  )
  return (role?.['rules'] ?? []) as Rule[]
}

/** Whether the policy in the store lets the user do it. */
export function isAllowed(store: Store, user: User, access: Access): boolean {
  if (user.groups.includes('system:masters')) return true
  if (everyone.some((rule) => covers(rule, access))) return true
  const bindings = [
    ...(store.list(`${rbac}/clusterrolebindings`) ?? []),
    ...(store.list(`${rbac}/rolebindings`) ?? []),
  ].map(([, binding]) => binding)
  return bindings.some((binding) => {
    const { namespace } = binding.metadata
    if (namespace !== undefined && namespace !== access.namespace) return false
    const subjects = (binding['subjects'] ?? []) as Json[]
    if (!subjects.some((subject) => isSubject(subject, user, namespace))) return false
    return rulesOf(store, binding).some((rule) => covers(rule, access))
  })
}

/** The text of a refusal. */
export function describeDenial(user: User, access: Access): string {
  const { verb, path, subresource, namespace, group } = access
  if (path !== undefined)
    return `forbidden: User "${user.username}" cannot ${verb} path "${path}"`
  const resource = subresource ? `${access.resource}/${subresource}` : access.resource
  const qualified = group === '' ? access.resource : `${access.resource}.${group}`
  const named = access.name === undefined ? '' : ` "${access.name}"`
  const where =
    namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`
  return `${qualified}${named} is forbidden: User "${user.username}" cannot ${verb} resource "${resource}" in API group "${group}" ${where}`
}
