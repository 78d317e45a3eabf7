// SPDX-License-Identifier: Apache-2.0
// `/api`, `/apis` and what is below them: the kinds that are served.
import { unknownPath } from './errors.ts'
import { apiVersionOf, type Json, type Resource } from './types.ts'

/** What `/version` says; the behaviour that the stand-in copies is that of this version. */
export const version = { major: '1', minor: '34', gitVersion: 'v1.34.0' }

const verbs = [
  ...['create', 'delete', 'deletecollection', 'get', 'list'],
  ...['patch', 'update', 'watch'],
]

/** Kinds that are only created: questions, not objects. */
const reviews: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'authentication.k8s.io/v1': {
    tokenreviews: 'TokenReview',
    selfsubjectreviews: 'SelfSubjectReview',
  },
  'authorization.k8s.io/v1': {
    selfsubjectaccessreviews: 'SelfSubjectAccessReview',
    subjectaccessreviews: 'SubjectAccessReview',
  },
}

const describe = (resource: Resource): Json[] => {
  const base = {
    ...{ name: resource.plural, singularName: resource.singular, kind: resource.kind },
    ...{ namespaced: resource.namespaced, verbs },
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
  }
  const { namespaced, kind } = resource
  const sub = { singularName: '', namespaced, kind, verbs: ['get', 'patch', 'update'] }
  return resource.hasStatus
    ? [base, { ...sub, name: `${resource.plural}/status` }]
    : [base]
}

function resourceList(resources: readonly Resource[], groupVersion: string): Json {
  const found = resources.filter((r) => apiVersionOf(r.group, r.version) === groupVersion)
  const asked = Object.entries(reviews[groupVersion] ?? {}).map(([name, kind]) => ({
    ...{ name, kind, singularName: kind.toLowerCase(), namespaced: false },
    verbs: ['create'],
  }))
  if (found.length + asked.length === 0) throw unknownPath()
  return {
    ...{ kind: 'APIResourceList', apiVersion: 'v1', groupVersion },
    resources: [...found.flatMap(describe), ...asked],
  }
}

/** Newest stable version first, as clients prefer it. */
const byPriority = (a: string, b: string): number => {
  const rank = (version: string): number => {
    const [, major = '0', stage, minor = '0'] =
      /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version) ?? []
    const stages: Readonly<Record<string, number>> = { alpha: 1, beta: 2 }
    return (
      (stage === undefined ? 3 : (stages[stage] ?? 0)) * 1e6 +
      Number(major) * 1e3 +
      Number(minor)
    )
  }
  return rank(b) - rank(a)
}

function groups(resources: readonly Resource[]): Json[] {
  const served = new Map<string, Set<string>>()
  const add = (group: string, version: string): void => {
    served.set(group, (served.get(group) ?? new Set()).add(version))
  }
  for (const { group, version } of resources) if (group !== '') add(group, version)
  for (const groupVersion of Object.keys(reviews)) {
    const [group = '', version = ''] = groupVersion.split('/')
    add(group, version)
  }
  return [...served].map(([name, set]) => {
    const versions = [...set]
      .toSorted(byPriority)
      .map((version) => ({ groupVersion: `${name}/${version}`, version }))
    return { name, versions, preferredVersion: versions[0] }
  })
}

/** The answer to a discovery path; undefined if the path is none. */
export function discover(path: string, resources: readonly Resource[]): Json | undefined {
  const parts = path.split('/').filter(Boolean)
  if (path === '/version') return { ...version, platform: 'linux/amd64' }
  if (parts[0] === 'api') {
    if (parts.length === 1) return { kind: 'APIVersions', versions: ['v1'] }
    if (parts.length === 2) return resourceList(resources, parts[1] ?? '')
  }
  if (parts[0] !== 'apis') return undefined
  if (parts.length === 1)
    return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups(resources) }
  if (parts.length === 2) {
    const group = groups(resources).find(({ name }) => name === parts[1])
    if (group === undefined) throw unknownPath()
    return { kind: 'APIGroup', apiVersion: 'v1', ...group }
  }
  return parts.length === 3
    ? resourceList(resources, `${parts[1] ?? ''}/${parts[2] ?? ''}`)
    : undefined
}
