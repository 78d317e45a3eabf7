// SPDX-License-Identifier: Apache-2.0
// The few rules of built-in kinds that an operator can run into: fields that never change once set,
// selectors that select nothing, definitions without a name or a schema. That schemas are structural is tested elsewhere.
import type { Cause } from './errors.ts'
import { canonical } from './fieldset.ts'
import { isJson, type Json, type KubeObject, type Resource } from './types.ts'

/** Fields that an update must leave as they are, by resource. */
const immutable: Readonly<Record<string, readonly string[]>> = {
  'apps/deployments': ['spec.selector'],
  'apps/daemonsets': ['spec.selector'],
  'apps/statefulsets': ['spec.selector', 'spec.serviceName'],
  'rbac.authorization.k8s.io/rolebindings': ['roleRef'],
  'rbac.authorization.k8s.io/clusterrolebindings': ['roleRef'],
  'apiextensions.k8s.io/customresourcedefinitions': [
    ...['spec.group', 'spec.scope', 'spec.names.kind', 'spec.names.plural'],
  ],
}

const at = (object: KubeObject, path: string): unknown =>
  path
    .split('.')
    .reduce<unknown>((value, part) => (isJson(value) ? value[part] : undefined), object)

function selectorErrors(object: KubeObject): Cause[] {
  const selector = at(object, 'spec.selector.matchLabels')
  const labels = at(object, 'spec.template.metadata.labels')
  const reason = 'FieldValueInvalid'
  if (!isJson(object.spec?.['selector']))
    return [
      { field: 'spec.selector', message: 'Required value', reason: 'FieldValueRequired' },
    ]
  const matches = Object.entries(isJson(selector) ? selector : {}).every(
    ([key, value]) => isJson(labels) && labels[key] === value,
  )
  const message = 'Invalid value: `selector` does not match template `labels`'
  return matches ? [] : [{ field: 'spec.template.metadata.labels', message, reason }]
}

function definitionErrors(object: KubeObject): Cause[] {
  const name = `${String(at(object, 'spec.names.plural'))}.${String(at(object, 'spec.group'))}`
  const reason = 'FieldValueInvalid'
  if (object.metadata.name !== name)
    return [{ field: 'metadata.name', message: `Invalid value: must be ${name}`, reason }]
  const versions = (object.spec?.['versions'] ?? []) as Json[]
  return versions.flatMap((version, i) =>
    at(version as KubeObject, 'schema.openAPIV3Schema') === undefined
      ? [
          {
            field: `spec.versions[${i}].schema.openAPIV3Schema`,
            message: 'Required value: schemas are required',
            reason: 'FieldValueRequired',
          },
        ]
      : [],
  )
}

/** What is wrong with a built-in object, or with its change from `previous`. */
export function builtInErrors(
  resource: Resource,
  object: KubeObject,
  previous: KubeObject | undefined,
): Cause[] {
  const key = `${resource.group}/${resource.plural}`
  const changed = (immutable[key] ?? []).filter(
    (path) =>
      previous !== undefined &&
      canonical(at(previous, path)) !== canonical(at(object, path)),
  )
  const errors: Cause[] = changed.map((field) => ({
    ...{
      field,
      message: 'Invalid value: field is immutable',
      reason: 'FieldValueInvalid',
    },
  }))
  if (['apps/deployments', 'apps/daemonsets'].includes(key))
    errors.push(...selectorErrors(object))
  if (key === 'apiextensions.k8s.io/customresourcedefinitions')
    errors.push(...definitionErrors(object))
  return errors
}
