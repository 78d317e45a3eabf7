// SPDX-License-Identifier: Apache-2.0
// Of the OpenAPI document only what kubectl asks it: that the server itself validates fields on writes.
import { unknownPath } from './errors.ts'
import { apiVersionOf, type Json, type Resource } from './types.ts'

const pathOf = (resource: Resource): string =>
  resource.group === ''
    ? `api/${resource.version}`
    : `apis/${resource.group}/${resource.version}`

const parameters = ['fieldManager', 'fieldValidation', 'force', 'dryRun'].map((name) => ({
  ...{ name, in: 'query', schema: { type: 'string', uniqueItems: true } },
}))

function operations(resource: Resource): [string, Json] {
  const { group, version, kind, plural, namespaced } = resource
  const path = `/${pathOf(resource)}${namespaced ? '/namespaces/{namespace}' : ''}/${plural}/{name}`
  const patch = {
    ...{ 'x-kubernetes-action': 'patch', parameters },
    'x-kubernetes-group-version-kind': { group, version, kind },
    responses: { 200: { description: 'OK' } },
  }
  return [path, { patch }]
}

/** The answer to a path below `/openapi/v3`; undefined for all others. */
export function openApi(path: string, resources: readonly Resource[]): Json | undefined {
  if (path === '/openapi/v3') {
    const entries = resources.map((resource) => {
      const below = pathOf(resource)
      return [below, { serverRelativeURL: `/openapi/v3/${below}` }] as const
    })
    return { paths: Object.fromEntries(entries) }
  }
  if (!path.startsWith('/openapi/v3/')) return undefined
  const below = path.slice('/openapi/v3/'.length)
  const found = resources.filter((resource) => pathOf(resource) === below)
  const [first] = found
  if (first === undefined) throw unknownPath()
  return {
    openapi: '3.0.0',
    info: { title: apiVersionOf(first.group, first.version), version: 'v1' },
    paths: Object.fromEntries(found.map(operations)),
  }
}
