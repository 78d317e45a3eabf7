// SPDX-License-Identifier: Apache-2.0
// PURE: zod schema to the structural OpenAPI v3 schema of a CustomResourceDefinition.
//
// Structural means (Kubernetes, "Specifying a structural schema"): a type on every node; fields, items and their annotations
// only outside of anyOf, oneOf, allOf and not; no $ref; additionalProperties not beside properties. Beyond that: null is not
// said, for the API server drops nulls of fields that are not nullable, which reads the same as our `nullish`.
import { z } from 'zod'

/** What a rule is to the API server. */
export interface ValidationRule {
  /** CEL over `self`. */
  readonly rule: string
  readonly message: string
  /** ".field" below the node that has the rule. */
  readonly fieldPath?: string
}

/** Node of a structural schema, with the keywords that our kinds use. */
export interface StructuralSchema {
  /** Absent only with x-kubernetes-int-or-string. */
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  readonly description?: string
  readonly default?: unknown
  readonly format?: string
  readonly enum?: readonly (string | number)[]
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly maxProperties?: number
  readonly items?: StructuralSchema
  readonly properties?: Readonly<Record<string, StructuralSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: StructuralSchema
  readonly anyOf?: readonly { readonly type: 'integer' | 'string' }[]
  readonly 'x-kubernetes-int-or-string'?: true
  /** Of an object: whatever is in it is kept and not looked at. */
  readonly 'x-kubernetes-preserve-unknown-fields'?: true
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  readonly 'x-kubernetes-list-map-keys'?: readonly string[]
  readonly 'x-kubernetes-validations'?: readonly ValidationRule[]
}

type Json = Readonly<Record<string, unknown>>

/** Keywords that mean the same in both worlds. */
const copied = [
  'type',
  'description',
  'default',
  'format',
  'enum',
  'pattern',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'maxProperties',
  'required',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
] as const

/** Keywords that are translated below, or that only repeat what a structural schema says anyway. */
const handled = new Set([
  ...copied,
  ...['$schema', 'properties', 'additionalProperties', 'propertyNames', 'items'],
  ...['anyOf', 'const', 'minimum', 'maximum'],
])

/**
 * The structural schema of what `schema` accepts as input: texts of durations, not milliseconds. Throws a TypeError, with the
 * path, where a schema says what a CRD cannot: a programmer's error.
 */
export function structuralSchema(schema: z.ZodType): StructuralSchema {
  return convert(z.toJSONSchema(schema, { io: 'input' }) as Json, '')
}

function convert(written: Json, path: string): StructuralSchema {
  const node = withoutUnion(written, path)
  const unknown = Object.keys(node).filter((key) => !handled.has(key))
  if (unknown.length > 0) throw unfit(path, `keyword ${unknown.join(', ')}`)
  const intOrString = Array.isArray(node['anyOf'])
  if (!intOrString && typeof node['type'] !== 'string') throw unfit(path, 'no type')
  const { const: only, properties, items, additionalProperties: rest } = node
  return {
    ...Object.fromEntries(
      copied.filter((key) => node[key] !== undefined).map((key) => [key, node[key]]),
    ),
    ...(only !== undefined && { enum: [only as string] }),
    // JavaScript's source text escapes the slash; RE2 needs no escape.
    ...(typeof node['pattern'] === 'string' && {
      pattern: node['pattern'].replaceAll('\\/', '/'),
    }),
    ...bounds(node),
    ...(intOrString && {
      anyOf: [{ type: 'integer' }, { type: 'string' }],
      'x-kubernetes-int-or-string': true,
    }),
    ...(isSchema(properties) && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, child]) => [
          name,
          convert(child as Json, `${path}.${name}`),
        ]),
      ),
    }),
    ...(isSchema(items) && { items: convert(items, `${path}[]`) }),
    // Of an object with properties it is `false`: the API server prunes or refuses unknown fields by itself. What is kept unseen has
    // no schema.
    ...(isSchema(rest) &&
      node['x-kubernetes-preserve-unknown-fields'] !== true && {
        additionalProperties: convert(rest, `${path}{}`),
      }),
  }
}

/** `node` with its union resolved: null leaves, one alternative is the node, integer and string are int-or-string. */
function withoutUnion(node: Json, path: string): Json {
  if (Array.isArray(node['type'])) {
    return { ...node, type: node['type'].find((type) => type !== 'null') as unknown }
  }
  if (node['anyOf'] === undefined) return node
  const { anyOf, ...rest } = node
  const branches = (anyOf as Json[]).filter(({ type }) => type !== 'null')
  const [first, second] = branches
  if (first !== undefined && second === undefined) {
    return withoutUnion({ ...first, ...rest }, path)
  }
  const types = branches.map(({ type }) => type)
  if (types.join() !== 'integer,string') throw unfit(path, `a union of ${types.join()}`)
  // Bounds judge numbers only, patterns and lengths texts only, so both may stand on one node.
  const { type: _integer, ...number } = first ?? {}
  const { type: _string, ...text } = second ?? {}
  return { ...number, ...text, ...rest, anyOf: branches }
}

/** Format and bounds of numbers; zod's own bounds of every integer are the format's business. */
function bounds({ type, minimum, maximum, anyOf }: Json): Partial<StructuralSchema> {
  if (type !== 'number' && type !== 'integer' && anyOf === undefined) return {}
  const low = minimum === Number.MIN_SAFE_INTEGER ? undefined : (minimum as number)
  const high = maximum === Number.MAX_SAFE_INTEGER ? undefined : (maximum as number)
  const narrow = low !== undefined && high !== undefined && high < 2 ** 31
  return {
    ...(type === 'number' && { format: 'double' }),
    ...(type === 'integer' && { format: narrow ? 'int32' : 'int64' }),
    ...(low !== undefined && { minimum: low }),
    ...(high !== undefined && { maximum: high }),
  }
}

const isSchema = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null

const unfit = (path: string, what: string): TypeError =>
  new TypeError(`schema${path}: ${what} does not fit into a structural schema`)
