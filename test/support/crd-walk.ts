// SPDX-License-Identifier: Apache-2.0
// Objects beside their structural schema: what pruning, defaulting, validation and CEL have in common.
import type { StructuralSchema } from '../../packages/operator/src/crd/index.ts'

export type Json = Record<string, unknown>

/** Reasons of `status.details.causes` in an answer 422. */
export type Reason =
  | 'FieldValueRequired'
  | 'FieldValueInvalid'
  | 'FieldValueTypeInvalid'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'
  | 'FieldValueNotSupported'
  | 'FieldValueDuplicate'

export interface FieldError {
  /** "spec.rules[0].from"; a key of a map in brackets; empty: the object itself. */
  readonly field: string
  readonly message: string
  readonly reason: Reason
}

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const join = (path: string, name: string): string =>
  path === '' ? name : `${path}.${name}`

/** Children of `value` that have a schema, with their paths. */
export function* children(
  value: unknown,
  schema: StructuralSchema,
  path: string,
): Generator<[child: unknown, schema: StructuralSchema, path: string, key: string]> {
  if (Array.isArray(value)) {
    if (schema.items === undefined) return
    for (const [i, item] of value.entries())
      yield [item, schema.items, `${path}[${i}]`, String(i)]
  } else if (isObject(value)) {
    for (const [key, child] of Object.entries(value)) {
      const named = schema.properties?.[key]
      if (named !== undefined) yield [child, named, join(path, key), key]
      else if (schema.additionalProperties !== undefined)
        yield [child, schema.additionalProperties, `${path}[${key}]`, key]
    }
  }
}
