// SPDX-License-Identifier: Apache-2.0
// May they: rules of the Roles, ClusterRoles and bindings in the store.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/
import { forbidden } from './errors.ts'
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

/** The rules that hold for a user in a namespace (undefined: in the whole cluster). */
function rulesFor(store: Store, user: User, at: string | undefined): readonly Rule[] {
  const bindings = [
    ...(store.list(`${rbac}/clusterrolebindings`) ?? []),
    ...(store.list(`${rbac}/rolebindings`) ?? []),
  ].map(([, binding]) => binding)
  return bindings.flatMap((binding) => {
    const { namespace } = binding.metadata
    if (namespace !== undefined && namespace !== at) return []
    const subjects = (binding['subjects'] ?? []) as Json[]
    const isBound = subjects.some((subject) => isSubject(subject, user, namespace))
    return isBound ? rulesOf(store, binding) : []
  })
}

/** Whether the policy in the store lets the user do it. */
export function isAllowed(store: Store, user: User, access: Access): boolean {
  if (user.groups.includes('system:masters')) return true
  const rules = [...everyone, ...rulesFor(store, user, access.namespace)]
  return rules.some((rule) => covers(rule, access))
}

/** The single permissions of a rule. */
function* atoms(rule: Rule): Generator<Access> {
  for (const verb of rule.verbs) {
    for (const path of rule.nonResourceURLs ?? [])
      yield { verb, group: '', resource: '', path }
    for (const group of rule.apiGroups ?? [])
      for (const full of rule.resources ?? []) {
        const [resource = '', subresource] = full.split('/')
        for (const name of rule.resourceNames ?? [undefined])
          yield { verb, group, resource, subresource, name }
      }
  }
}

/**
 * Refuses a role, or a binding, by which a user would give away what they have not themselves; the verbs `escalate` and
 * `bind` lift that. https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
 */
export function checkGrant(store: Store, user: User, object: KubeObject): void {
  const isRole = Array.isArray(object['rules'])
  const isBinding = object['roleRef'] !== undefined
  if ((!isRole && !isBinding) || user.groups.includes('system:masters')) return
  const { namespace, name } = object.metadata
  const reference = object['roleRef'] as { kind: string; name: string } | undefined
  const kind = reference?.kind ?? object.kind
  const lifted = isAllowed(store, user, {
    ...{ verb: isRole ? 'escalate' : 'bind', group: rbac, namespace },
    ...{ resource: `${kind.toLowerCase()}s`, name: reference?.name ?? name },
  })
  if (lifted) return
  const rules = isRole ? (object['rules'] as Rule[]) : rulesOf(store, object)
  const own = [...everyone, ...rulesFor(store, user, namespace)]
  for (const rule of rules)
    for (const atom of atoms(rule))
      if (!own.some((held) => covers(held, atom)))
        throw forbidden(
          `${kind.toLowerCase()}s.${rbac} "${name}" is forbidden: user "${user.username}" is attempting to grant RBAC permissions not currently held: ${JSON.stringify(atom)}`,
        )
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
