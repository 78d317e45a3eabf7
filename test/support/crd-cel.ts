// SPDX-License-Identifier: Apache-2.0
// The CEL rules of a CRD (`x-kubernetes-validations`): type-checked against the schema, as the API server does when the CRD is
// made, and evaluated over objects.
import { Environment } from '@marcbachmann/cel-js'
import type {
  StructuralSchema,
  ValidationRule,
} from '../../packages/operator/src/crd/index.ts'
import { children, type FieldError, type Json } from './crd-walk.ts'

const compiled = new Map<string, (context: Record<string, unknown>) => unknown>()
const dynamic = new Environment()
  .registerVariable('self', 'dyn')
  .registerVariable('oldSelf', 'dyn')

/** True when the rule compares with the stored value: it is not evaluated where there is none (Kubernetes, "transition rules"). */
const isTransition = (rule: string): boolean => /\boldSelf\b/.test(rule)

/** Violated rules of `value` and all below. `old` is the stored value, absent on create. */
export function celErrors(
  schema: StructuralSchema,
  value: unknown,
  old: unknown,
  field = '',
): FieldError[] {
  const errors: FieldError[] = []
  for (const rule of schema['x-kubernetes-validations'] ?? []) {
    if (isTransition(rule.rule) && old === undefined) continue
    const message = violation(rule, schema, value, old)
    if (message === undefined) continue
    const path = `${field}${rule.fieldPath ?? ''}`.replace(/^\./, '')
    errors.push({ field: path, reason: 'FieldValueInvalid', message })
  }
  for (const [child, below, path, key] of children(value, schema, field)) {
    const before = correlated(schema, value, old, key)
    errors.push(...celErrors(below, child, before, path))
  }
  return errors
}

/** The stored counterpart of a child: by name, by map keys; items of atomic lists and sets have none. */
function correlated(
  schema: StructuralSchema,
  value: unknown,
  old: unknown,
  key: string,
): unknown {
  if (typeof old !== 'object' || old === null) return undefined
  if (!Array.isArray(value)) return (old as Json)[key]
  const keys = schema['x-kubernetes-list-map-keys']
  if (keys === undefined || !Array.isArray(old)) return undefined
  const item = value[Number(key)] as Json
  return (old as Json[]).find((other) => keys.every((name) => other[name] === item[name]))
}

function violation(
  { rule, message }: ValidationRule,
  schema: StructuralSchema,
  value: unknown,
  old: unknown,
): string | undefined {
  let evaluate = compiled.get(rule)
  if (evaluate === undefined) {
    evaluate = dynamic.parse(rule)
    compiled.set(rule, evaluate)
  }
  const shown = typeof value === 'object' ? '' : `${JSON.stringify(value)}: `
  try {
    const context = { self: toCel(value, schema), oldSelf: toCel(old, schema) }
    if (evaluate(context) === true) return undefined
    return `Invalid value: ${shown}${message}`
  } catch (error) {
    // The API server refuses as well: a rule that cannot be evaluated does not hold.
    const why = error instanceof Error ? error.message : String(error)
    return `Invalid value: ${shown}rule ${rule}: ${why}`
  }
}

/** A value as CEL has it: whole numbers of integer fields are int, all other numbers double. */
function toCel(value: unknown, schema: StructuralSchema): unknown {
  if (typeof value === 'number') {
    return schema.type === 'number' ? value : BigInt(value)
  }
  if (Array.isArray(value)) {
    return [...children(value, schema, '')].map(([child, below]) => toCel(child, below))
  }
  if (typeof value !== 'object' || value === null) return value
  // Of metadata, rules see name and generateName alone.
  const { metadata } = value as Json
  const names = isRoot(schema) ? { metadata: nameOf(metadata) } : {}
  const fields = [...children(value, schema, '')]
    .filter(([, , , key]) => !(isRoot(schema) && key === 'metadata'))
    .map(([child, below, , key]) => [key, toCel(child, below)] as const)
  return { ...Object.fromEntries(fields), ...names }
}

const isRoot = ({ properties }: StructuralSchema): boolean =>
  properties?.['apiVersion'] !== undefined && properties['metadata'] !== undefined

function nameOf(metadata: unknown): Json {
  const { name, generateName } = (metadata ?? {}) as Json
  return {
    ...(name !== undefined && { name }),
    ...(generateName !== undefined && { generateName }),
  }
}

/** What the type checker says against each rule of `schema` and below: "spec.ports[]: No such key: prot". */
export function celTypeErrors(schema: StructuralSchema, field = ''): string[] {
  const errors: string[] = []
  const rules = schema['x-kubernetes-validations'] ?? []
  if (rules.length > 0) {
    const environment = new Environment()
    const type = declare(environment, schema, 'Self')
    environment.registerVariable('self', type).registerVariable('oldSelf', type)
    for (const { rule } of rules) {
      const { valid, type: returns, error } = environment.check(rule)
      if (!valid) errors.push(`${field}: ${rule}: ${error?.message}`)
      else if (String(returns) !== 'bool')
        errors.push(`${field}: ${rule}: is ${String(returns)}, not bool`)
    }
  }
  for (const [name, child] of Object.entries(schema.properties ?? {}))
    errors.push(...celTypeErrors(child, `${field}.${name}`))
  for (const child of [schema.items, schema.additionalProperties])
    if (child !== undefined) errors.push(...celTypeErrors(child, `${field}[]`))
  return errors
}

const scalars = { string: 'string', integer: 'int', number: 'double', boolean: 'bool' }

/** CEL type of `schema`; objects are declared under `name` and names below it. */
function declare(
  environment: Environment,
  schema: StructuralSchema,
  name: string,
): string {
  const { type, items, additionalProperties, properties = {} } = schema
  if (type === undefined) return 'dyn'
  if (type === 'array') {
    return items === undefined
      ? 'list'
      : `list<${declare(environment, items, `${name}Item`)}>`
  }
  if (type !== 'object') return scalars[type]
  if (additionalProperties !== undefined) {
    return `map<string, ${declare(environment, additionalProperties, `${name}Value`)}>`
  }
  const fields = Object.fromEntries(
    Object.entries(properties).map(([key, child]) => [
      key,
      declare(environment, child, `${name}_${key}`),
    ]),
  )
  if (isRoot(schema)) {
    environment.registerType(`${name}Meta`, {
      fields: { name: 'string', generateName: 'string' },
    })
    fields['metadata'] = `${name}Meta`
  }
  environment.registerType(name, { fields })
  return name
}
