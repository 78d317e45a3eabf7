// SPDX-License-Identifier: Apache-2.0
// What the API server demands of a CRD's schema: the rules of structural schemas ("Extend the Kubernetes API with
// CustomResourceDefinitions", section "Specifying a structural schema"), of list types, defaults and patterns. Over plain JSON, so
// that it does not believe our types.

type Json = Readonly<Record<string, unknown>>

/** Keywords that are never allowed in a CRD. */
const forbidden = new Set([
  '$ref',
  '$schema',
  'const',
  'definitions',
  'dependencies',
  'deprecated',
  'discriminator',
  'id',
  'patternProperties',
  'propertyNames',
  'readOnly',
  'writeOnly',
  'xml',
  'uniqueItems',
])

/** What may not stand inside of allOf, anyOf, oneOf and not. */
const outsideOnly = [
  'type',
  'description',
  'default',
  'additionalProperties',
  'nullable',
  'title',
]
const types = new Set(['object', 'array', 'string', 'integer', 'number', 'boolean'])
const formats = new Set(['int32', 'int64', 'double', 'float', 'date-time', 'byte'])

/** RE2 knows neither look-around nor back references. */
const notRe2 = /\(\?(?:[=!]|<[=!])|\\[1-9]|\\k</

/** Violations, as "path: what". */
export function structuralErrors(schema: unknown, path = '$'): string[] {
  const node = schema as Json
  const root = path === '$' ? rootErrors(node) : []
  const own = [
    ...keywordErrors(node),
    ...typeErrors(node),
    ...listErrors(node),
    ...ruleErrors(node),
    ...root,
  ].map((what) => `${path}: ${what}`)
  const properties = Object.entries((node['properties'] ?? {}) as Json)
  return [
    ...own,
    ...properties.flatMap(([name, child]) =>
      structuralErrors(child, path === '' ? name : `${path}.${name}`),
    ),
    ...(node['items'] === undefined ? [] : structuralErrors(node['items'], `${path}[]`)),
    ...(isObject(node['additionalProperties'])
      ? structuralErrors(node['additionalProperties'], `${path}{}`)
      : []),
  ]
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function* keywordErrors(node: Json): Generator<string> {
  for (const key of Object.keys(node)) if (forbidden.has(key)) yield `${key} is forbidden`
  if (Array.isArray(node['type'])) yield 'type is a list'
  if (node['additionalProperties'] === false) yield 'additionalProperties: false'
  if (node['properties'] !== undefined && node['additionalProperties'] !== undefined)
    yield 'properties beside additionalProperties'
  if (Array.isArray(node['items'])) yield 'items is a list of schemas'
  const { format, pattern } = node
  if (format !== undefined && !formats.has(String(format)))
    yield `format ${String(format)} is unknown`
  if (typeof pattern === 'string' && notRe2.test(pattern))
    yield `pattern ${pattern} is not RE2`
  if (typeof pattern === 'string') new RegExp(pattern, 'u')
}

function* typeErrors(node: Json): Generator<string> {
  const { type } = node
  const either = node['x-kubernetes-int-or-string'] === true
  if (either && type !== undefined) yield 'type beside x-kubernetes-int-or-string'
  if (!either && !types.has(String(type))) yield 'no type'
  if (type === 'array' && node['items'] === undefined) yield 'array without items'
  for (const key of ['allOf', 'anyOf', 'oneOf', 'not']) {
    if (node[key] === undefined) continue
    const branches = (Array.isArray(node[key]) ? node[key] : [node[key]]) as Json[]
    // The one exception in which types may stand in a junctor.
    const exempt =
      either &&
      key === 'anyOf' &&
      JSON.stringify(branches) === '[{"type":"integer"},{"type":"string"}]'
    if (exempt) continue
    for (const branch of branches) {
      for (const word of outsideOnly) {
        if (branch[word] !== undefined) yield `${word} inside of ${key}`
      }
      const outside = (node['properties'] ?? {}) as Json
      for (const name of Object.keys((branch['properties'] ?? {}) as Json)) {
        if (outside[name] === undefined) yield `${name} only inside of ${key}`
      }
    }
  }
}

function* listErrors(node: Json): Generator<string> {
  const listType = node['x-kubernetes-list-type']
  const keys = node['x-kubernetes-list-map-keys'] as string[] | undefined
  if (listType === undefined) return
  const items = (node['items'] ?? {}) as Json
  if (node['type'] !== 'array') yield 'x-kubernetes-list-type without a list'
  if (listType === 'set' && ['object', 'array'].includes(String(items['type'])))
    yield 'a set of what is not scalar'
  if (listType !== 'map') return
  if (keys === undefined || keys.length === 0) yield 'a list map without keys'
  for (const key of keys ?? []) {
    const field = ((items['properties'] ?? {}) as Json)[key] as Json | undefined
    const required = (items['required'] as string[] | undefined)?.includes(key) === true
    if (!required && field?.['default'] === undefined) yield `key ${key} may be absent`
  }
}

function* ruleErrors(node: Json): Generator<string> {
  for (const { rule, message, fieldPath } of (node['x-kubernetes-validations'] ??
    []) as Json[]) {
    if (typeof rule !== 'string' || rule.trim() === '') yield 'a rule without CEL'
    if (typeof message !== 'string' || message.trim() === '' || message.includes('\n'))
      yield 'a rule without a message of one line'
    if (fieldPath === undefined) continue
    let below: Json | undefined = node
    for (const name of String(fieldPath).slice(1).split('.')) {
      below = ((below?.['properties'] ?? {}) as Json)[name] as Json | undefined
    }
    if (below === undefined) yield `fieldPath ${String(fieldPath)} leads nowhere`
  }
}

function* rootErrors(node: Json): Generator<string> {
  if (node['type'] !== 'object') yield 'the root is no object'
  const { apiVersion, kind, metadata } = (node['properties'] ?? {}) as Record<
    string,
    Json | undefined
  >
  if (apiVersion?.['type'] !== 'string') yield 'apiVersion is no string'
  if (kind?.['type'] !== 'string') yield 'kind is no string'
  const fields = Object.keys(metadata ?? {}).filter(
    (key) => !['type', 'properties', 'description'].includes(key),
  )
  if (fields.length > 0) yield `metadata says ${fields.join()}`
  for (const name of Object.keys((metadata?.['properties'] ?? {}) as Json)) {
    if (!['name', 'generateName'].includes(name)) yield `metadata restricts ${name}`
  }
}
