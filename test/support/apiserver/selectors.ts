// SPDX-License-Identifier: Apache-2.0
// Label and field selectors in their string form.
import { badRequest } from './errors.ts'
import type { KubeObject, Resource } from './types.ts'

/** Whether a list or a watch wants an object. */
export type Matcher = (object: KubeObject) => boolean

type Labels = Readonly<Record<string, string>>
const term =
  /^\s*(?:(!?)\s*([\w./-]+)\s*|([\w./-]+)\s*(=|==|!=)\s*([\w.-]*)\s*|([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)\s*)$/

function parseTerm(text: string): (labels: Labels) => boolean {
  const match = term.exec(text)
  if (match === null)
    throw badRequest(
      `unable to parse requirement: ${text}: expected KEY, KEY=VALUE or KEY in (A,B)`,
    )
  const [, not, exists, key, operator, value, setKey, setOperator, set] = match
  if (exists !== undefined)
    return (labels) => Object.hasOwn(labels, exists) === (not === '')
  if (key !== undefined)
    return (labels) => (labels[key] === value) === (operator !== '!=')
  const values = (set ?? '').split(',').map((item) => item.trim())
  return (labels) => {
    const own = labels[setKey ?? '']
    return (own !== undefined && values.includes(own)) === (setOperator === 'in')
  }
}

/** A label selector: `a=b,c!=d,e,!f,g in (h,i),j notin (k)`. */
export function labelSelector(text: string): Matcher {
  if (text.trim() === '') return () => true
  const terms = text.split(/,(?![^(]*\))/).map(parseTerm)
  return ({ metadata }) => terms.every((matches) => matches(metadata.labels ?? {}))
}

/** Fields beside name and namespace that the server indexes, by resource. */
const fieldsByResource: Readonly<Record<string, readonly string[]>> = {
  '/pods': ['spec.nodeName', 'status.phase', 'spec.serviceAccountName', 'status.podIP'],
  '/secrets': ['type'],
  '/namespaces': ['status.phase'],
  '/events': [
    'involvedObject.kind',
    'involvedObject.name',
    'involvedObject.uid',
    'reason',
  ],
  '/nodes': ['spec.unschedulable'],
}

function fieldAt(object: KubeObject, path: string): string {
  let value: unknown = object
  for (const part of path.split('.'))
    value = (value as Record<string, unknown> | undefined)?.[part]
  return typeof value === 'string' || typeof value === 'boolean' ? String(value) : ''
}

/** A field selector: `metadata.name=a,spec.nodeName!=b`. Fields without an index are refused, as the server does. */
export function fieldSelector(text: string, resource: Resource): Matcher {
  if (text.trim() === '') return () => true
  const known = fieldsByResource[`${resource.group}/${resource.plural}`] ?? []
  const terms = text.split(',').map((part) => {
    const match = /^([\w.]+)(!=|==|=)(.*)$/.exec(part.trim())
    const [, path = '', operator, value = ''] = match ?? []
    if (match === null) throw badRequest(`invalid field selector: ${part}`)
    if (!['metadata.name', 'metadata.namespace', ...known].includes(path))
      throw badRequest(`field label not supported: ${path}`)
    return (object: KubeObject) =>
      (fieldAt(object, path) === value) === (operator !== '!=')
  })
  return (object) => terms.every((matches) => matches(object))
}

/** Both selectors of a request, and its namespace. */
export function matcherOf(
  query: URLSearchParams,
  resource: Resource,
  namespace: string | undefined,
): Matcher {
  const labels = labelSelector(query.get('labelSelector') ?? '')
  const fields = fieldSelector(query.get('fieldSelector') ?? '', resource)
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    labels(object) &&
    fields(object)
}
