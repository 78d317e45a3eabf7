// SPDX-License-Identifier: Apache-2.0
// zod schema to structural schema, and the CRDs against the API server's rules.
import t from 'tap'
import { z } from 'zod'
import { ruled } from '../../src/api/rule.ts'
import { duration, list, portOrName, set } from '../../src/api/scalar.ts'
import { structuralSchema } from '../../src/crd/structural.ts'
import { structuralErrors } from '../../../../test/support/crd-structural.ts'

/** Schema of one field. */
const field = (schema: z.ZodType): unknown =>
  structuralSchema(z.strictObject({ f: schema })).properties?.['f']

t.test('integers have the format that their bounds allow', async (t) => {
  t.strictSame(field(z.int()), { type: 'integer', format: 'int64' })
  t.strictSame(field(z.int().min(0)), { type: 'integer', format: 'int64', minimum: 0 })
  t.strictSame(field(z.int().min(1).max(9)), {
    type: 'integer',
    format: 'int32',
    minimum: 1,
    maximum: 9,
  })
  t.strictSame(field(z.number().max(0.5)), {
    type: 'number',
    format: 'double',
    maximum: 0.5,
  })
})

t.test('a duration is its text, default included', async (t) => {
  t.strictSame(field(duration.prefault('10s')), {
    type: 'string',
    default: '10s',
    pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$',
    maxLength: 28,
  })
})

t.test('what is kept without being looked at has no schema of its own', async (t) => {
  const kept = { 'x-kubernetes-preserve-unknown-fields': true }
  t.strictSame(field(z.record(z.string(), z.unknown()).meta(kept)), {
    type: 'object',
    ...kept,
  })
})

t.test('lists that may be null are lists', async (t) => {
  t.strictSame(field(list(z.string(), 3).describe('d')), {
    type: 'array',
    description: 'd',
    maxItems: 3,
    items: { type: 'string' },
  })
  t.strictSame(field(set(z.string(), 3)), {
    type: 'array',
    maxItems: 3,
    'x-kubernetes-list-type': 'set',
    items: { type: 'string' },
  })
  t.strictSame(field(z.string().nullish()), { type: 'string' })
})

t.test(
  'a map has a schema for its values, an object no word on other fields',
  async (t) => {
    t.strictSame(field(z.record(z.string().min(1), z.boolean())), {
      type: 'object',
      additionalProperties: { type: 'boolean' },
    })
    t.strictSame(field(z.strictObject({ a: z.literal('x') })), {
      type: 'object',
      required: ['a'],
      properties: { a: { type: 'string', enum: ['x'] } },
    })
  },
)

t.test('number or name is int-or-string with the bounds of both', async (t) => {
  t.strictSame(field(portOrName), {
    pattern: '^[a-z0-9-]*[a-z][a-z0-9-]*$',
    maxLength: 15,
    minimum: 1,
    maximum: 65_535,
    anyOf: [{ type: 'integer' }, { type: 'string' }],
    'x-kubernetes-int-or-string': true,
  })
})

t.test('a rule stands in both languages, whatever wraps the schema', async (t) => {
  const rule = {
    cel: 'self.a',
    holds: ({ a }: { a: boolean }) => a,
    message: 'must be a',
  }
  const schema = ruled(z.strictObject({ a: z.boolean() }), { ...rule, path: ['a'] })
  const want = [{ rule: 'self.a', message: 'must be a', fieldPath: '.a' }]
  for (const wrapped of [schema, schema.optional(), schema.nullish().describe('d')]) {
    t.match(field(wrapped), { 'x-kubernetes-validations': want })
    const { error } = wrapped.safeParse({ a: false })
    t.match(error?.issues, [{ path: ['a'], message: 'must be a' }])
  }
})

t.test('what a structural schema cannot say is refused with its path', async (t) => {
  const union = z.union([z.boolean(), z.strictObject({})])
  t.throws(() => field(union), /^schema\.f: a union of boolean,object/)
  t.throws(() => field(z.array(z.unknown())), /^schema\.f\[\]: no type/)
  t.throws(() => field(z.tuple([z.string()])), /^schema\.f: keyword prefixItems/)
})

t.test('the checker of these tests sees what is not structural', async (t) => {
  const root = { apiVersion: { type: 'string' }, kind: { type: 'string' } }
  const wrong = (schema: object): string[] =>
    structuralErrors({ type: 'object', properties: { ...root, f: schema } })
  const wants: readonly (readonly [object, RegExp])[] = [
    [{}, /no type/],
    [{ $ref: '#/a', type: 'string' }, /\$ref/],
    [{ type: 'object', additionalProperties: false }, /false/],
    [
      { type: 'object', properties: {}, additionalProperties: { type: 'string' } },
      /beside/,
    ],
    [{ type: 'string', anyOf: [{ type: 'string' }] }, /type inside of anyOf/],
    [{ type: 'object', not: { properties: { a: {} } } }, /a only inside of not/],
    [{ type: 'string', pattern: '(?=a)b' }, /RE2/],
    [{ type: 'string', format: 'duration-ish' }, /format/],
    [{ type: 'array' }, /items/],
    [
      { type: 'array', items: { type: 'object' }, 'x-kubernetes-list-type': 'set' },
      /set/,
    ],
    [
      {
        type: 'array',
        items: { type: 'object', properties: { k: { type: 'string' } } },
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['k'],
      },
      /key k/,
    ],
    [
      {
        type: 'object',
        'x-kubernetes-validations': [{ rule: 'true', message: 'm', fieldPath: '.x' }],
      },
      /leads nowhere/,
    ],
  ]
  for (const [schema, want] of wants) {
    t.match(wrong(schema).join('; '), want, JSON.stringify(schema))
  }
  t.strictSame(wrong({ type: 'string' }), [])
  t.match(structuralErrors({ type: 'string' }).join('; '), /root is no object/)
})
