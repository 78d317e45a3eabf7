// SPDX-License-Identifier: Apache-2.0
// What an API server does with a custom resource before it stores it: prunes, defaults, validates, evaluates CEL. Faithful for the
// keywords that our CRDs use (StructuralSchema), not for others.
import type {
  CustomResourceDefinition,
  StructuralSchema,
} from '../../packages/operator/src/crd/index.ts'
import { celErrors } from './crd-cel.ts'
import {
  children,
  isObject,
  join,
  type FieldError,
  type Json,
  type Reason,
} from './crd-walk.ts'

export interface Validated {
  /** A copy of the object as it would be stored: unknown fields and nulls gone, defaults filled in. */
  readonly object: Json
  /** Empty: the object is valid. */
  readonly errors: readonly FieldError[]
  /** Paths of unknown fields: `fieldValidation=Strict`, which kubectl asks for, refuses them. */
  readonly pruned: readonly string[]
}

/** Kinds of errors that keep the API server from evaluating CEL at all. */
const blocking: ReadonlySet<Reason> = new Set<Reason>([
  'FieldValueRequired',
  'FieldValueTypeInvalid',
  'FieldValueTooLong',
  'FieldValueTooMany',
])

/**
 * Judges `object` by the storage version of `crd`. `old` is the stored object on update: rules may speak of `oldSelf`.
 * Fields of metadata are not checked here: they are the same for all kinds.
 */
export function validateAgainstCrd(
  crd: CustomResourceDefinition,
  object: object,
  old?: object,
): Validated {
  const schema = crd.spec.versions.find(({ storage }) => storage)?.schema.openAPIV3Schema
  if (schema === undefined)
    throw new TypeError(`${crd.metadata.name}: no storage version`)
  // Known without the schema, which may say nothing of them: they are kept out of the pruning.
  const { apiVersion, kind, metadata, ...copy } = structuredClone(object) as Json
  const pruned: string[] = []
  prune(copy, schema, '', pruned)
  dropNulls(copy, schema)
  setDefaults(copy, schema)
  Object.assign(copy, { apiVersion, kind, metadata })
  const errors = validate(copy, schema, '')
  if (!errors.some(({ reason }) => blocking.has(reason))) {
    errors.push(...celErrors(schema, copy, old as Json | undefined))
  }
  return { object: copy, errors, pruned }
}

function prune(
  value: unknown,
  schema: StructuralSchema,
  path: string,
  pruned: string[],
): void {
  if (isObject(value) && schema.additionalProperties === undefined && !keeps(schema)) {
    for (const key of Object.keys(value)) {
      if (schema.properties?.[key] !== undefined) continue
      delete value[key]
      pruned.push(join(path, key))
    }
  }
  for (const [child, below, at] of children(value, schema, path))
    prune(child, below, at, pruned)
}

/** What others' definitions may say, and ours do not. */
function keeps(schema: StructuralSchema): boolean {
  const field = 'x-kubernetes-preserve-unknown-fields'
  return (schema as { [field]?: boolean })[field] === true
}

/** No field of ours is nullable: a null is as good as absent, except as an item of a list. */
function dropNulls(value: unknown, schema: StructuralSchema): void {
  for (const [child, below, , key] of children(value, schema, '')) {
    if (child === null && isObject(value)) delete value[key]
    else dropNulls(child, below)
  }
}

function setDefaults(value: unknown, schema: StructuralSchema): void {
  if (isObject(value)) {
    for (const [name, below] of Object.entries(schema.properties ?? {})) {
      if (below.default === undefined || value[name] !== undefined) continue
      value[name] = structuredClone(below.default)
    }
  }
  for (const [child, below] of children(value, schema, '')) setDefaults(child, below)
}

function validate(value: unknown, schema: StructuralSchema, field: string): FieldError[] {
  const error = (reason: Reason, message: string): FieldError => ({
    field,
    reason,
    message,
  })
  const wanted =
    schema['x-kubernetes-int-or-string'] === true
      ? ['integer', 'string']
      : [schema.type ?? '']
  const type = typeOf(value)
  if (!wanted.includes(type) && !(type === 'integer' && wanted.includes('number'))) {
    const message = `Invalid value: "${type}": ${field} in body must be of type ${wanted.join(',')}: "${type}"`
    return [error('FieldValueTypeInvalid', message)]
  }
  const shown = JSON.stringify(value)
  const invalid = (text: string): FieldError =>
    error('FieldValueInvalid', `Invalid value: ${shown}: ${field} in body ${text}`)
  const errors: FieldError[] = []
  if (schema.enum?.includes(value as string | number) === false) {
    const supported = schema.enum.map((item) => JSON.stringify(item)).join(', ')
    const message = `Unsupported value: ${shown}: supported values: ${supported}`
    errors.push(error('FieldValueNotSupported', message))
  }
  if (typeof value === 'string') errors.push(...ofString(value, schema, invalid, error))
  if (typeof value === 'number') errors.push(...ofNumber(value, schema, invalid))
  if (Array.isArray(value)) errors.push(...ofList(value, schema, field, invalid, error))
  if (isObject(value)) errors.push(...ofObject(value, schema, field, error))
  for (const [child, below, path] of children(value, schema, field)) {
    // ObjectMeta is validated by its own code.
    if (path !== 'metadata') errors.push(...validate(child, below, path))
  }
  return errors
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

type Invalid = (text: string) => FieldError
type MakeError = (reason: Reason, message: string) => FieldError

function* ofString(
  value: string,
  schema: StructuralSchema,
  invalid: Invalid,
  error: MakeError,
): Generator<FieldError> {
  // Lengths are runes, not UTF-16 units.
  const length = [...value].length
  const { maxLength, minLength = 0, pattern, format } = schema
  if (maxLength !== undefined && length > maxLength)
    yield error('FieldValueTooLong', `Too long: may not be more than ${maxLength} bytes`)
  if (length < minLength) yield invalid(`should be at least ${minLength} chars long`)
  if (pattern !== undefined && !new RegExp(pattern, 'u').test(value))
    yield invalid(`should match '${pattern}'`)
  if (format === 'date-time' && !dateTime.test(value))
    yield invalid(`must be of type date-time: "${value}"`)
}

const dateTime =
  /^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d+)?(Z|[+-][0-2]\d:[0-5]\d)$/i

function* ofNumber(
  value: number,
  { minimum = -Infinity, maximum = Infinity, format }: StructuralSchema,
  invalid: Invalid,
): Generator<FieldError> {
  if (value < minimum) yield invalid(`should be greater than or equal to ${minimum}`)
  if (value > maximum) yield invalid(`should be less than or equal to ${maximum}`)
  if (format === 'int32' && Math.abs(value) > 2 ** 31)
    yield invalid('must be of type int32')
}

function* ofList(
  value: readonly unknown[],
  schema: StructuralSchema,
  field: string,
  invalid: Invalid,
  error: MakeError,
): Generator<FieldError> {
  const { minItems = 0, maxItems = Infinity } = schema
  if (value.length > maxItems) {
    const message = `Too many: ${value.length}: must have at most ${maxItems} items`
    yield error('FieldValueTooMany', message)
  }
  if (value.length < minItems) yield invalid(`should have at least ${minItems} items`)
  const type = schema['x-kubernetes-list-type'] ?? 'atomic'
  if (type === 'atomic') return
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  const seen = new Set<string>()
  for (const [i, item] of value.entries()) {
    const picked = keys.map((key) => (item as Json | null)?.[key])
    const identity = JSON.stringify(type === 'set' ? item : picked)
    if (seen.has(identity)) {
      const message = `Duplicate value: ${identity}`
      yield { field: `${field}[${i}]`, reason: 'FieldValueDuplicate', message }
    }
    seen.add(identity)
  }
}

function* ofObject(
  value: Json,
  schema: StructuralSchema,
  field: string,
  error: MakeError,
): Generator<FieldError> {
  for (const name of schema.required ?? []) {
    if (value[name] !== undefined) continue
    const path = join(field, name)
    yield { field: path, reason: 'FieldValueRequired', message: 'Required value' }
  }
  const size = Object.keys(value).length
  const { maxProperties = Infinity } = schema
  if (size > maxProperties) {
    const message = `Too many: ${size}: must have at most ${maxProperties} items`
    yield error('FieldValueTooMany', message)
  }
}
