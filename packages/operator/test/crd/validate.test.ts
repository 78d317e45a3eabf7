// SPDX-License-Identifier: Apache-2.0
// test/support/crd-validate.ts, which the API server stand-in uses, does what the API server's documentation says.
import t from 'tap'
import { crds, type StructuralSchema } from '../../src/crd/index.ts'
import {
  validateAgainstCrd,
  type Validated,
} from '../../../../test/support/crd-validate.ts'

const [base] = crds()

/** Judges an object whose spec has this schema. */
function judge(spec: StructuralSchema, value: unknown, old?: unknown): Validated {
  if (base === undefined) throw new TypeError('no CRD')
  const openAPIV3Schema: StructuralSchema = { type: 'object', properties: { spec } }
  const versions = base.spec.versions.map((version) => ({
    ...version,
    schema: { openAPIV3Schema },
  }))
  const crd = { ...base, spec: { ...base.spec, versions } }
  const metadata = { name: 'a', labels: { b: 'c' } }
  const type = { apiVersion: 'a/v1', kind: 'A' }
  const before = old === undefined ? undefined : { ...type, metadata, spec: old }
  return validateAgainstCrd(crd, { ...type, metadata, spec: value }, before)
}

const failures = (...args: Parameters<typeof judge>): string[] =>
  judge(...args).errors.map(({ field, message }) => `${field}: ${message}`)

const number: StructuralSchema = { type: 'integer', format: 'int32', maximum: 9 }

t.test(
  'what is unknown goes, null goes, defaults come, all before validation',
  async (t) => {
    const schema: StructuralSchema = {
      type: 'object',
      required: ['a'],
      properties: {
        a: { type: 'integer', default: 1 },
        deep: {
          type: 'object',
          default: {},
          properties: { b: { type: 'string', default: 'x' } },
        },
        absent: { type: 'object', properties: { b: { type: 'string', default: 'x' } } },
        map: { type: 'object', additionalProperties: { type: 'integer' } },
      },
    }
    const written = { a: null, other: { x: 1 }, map: { k: 1, gone: null } }
    const { object, errors, pruned } = judge(schema, written)
    t.strictSame(object['spec'], { a: 1, deep: { b: 'x' }, map: { k: 1 } })
    t.strictSame(object['metadata'], { name: 'a', labels: { b: 'c' } })
    t.strictSame([object['apiVersion'], object['kind']], ['a/v1', 'A'])
    t.strictSame(errors, [])
    t.strictSame(pruned, ['spec.other'])
    t.equal(written.a, null, 'the argument is left as it was')
  },
)

t.test(
  'types, bounds and lists are refused in the words of the API server',
  async (t) => {
    t.strictSame(failures(number, 'x'), [
      'spec: Invalid value: "string": spec in body must be of type integer: "string"',
    ])
    t.strictSame(failures(number, 10), [
      'spec: Invalid value: 10: spec in body should be less than or equal to 9',
    ])
    t.match(failures(number, 1.5), [/must be of type integer: "number"/])
    t.strictSame(failures({ type: 'number' }, 1), [], 'an integer is a number')
    t.match(failures({ type: 'array', items: number }, [null]), [/spec\[0\].*"null"/])
    t.match(failures({ type: 'string', maxLength: 2 }, 'äöü'), [/Too long/])
    t.strictSame(
      failures({ type: 'string', maxLength: 2 }, '🏍🏍'),
      [],
      'runes are counted',
    )
    t.match(failures({ type: 'string', minLength: 1 }, ''), [/at least 1 chars/])
    t.match(failures({ type: 'string', format: 'date-time' }, '2026-11-21'), [
      /date-time/,
    ])
    t.strictSame(
      failures({ type: 'string', format: 'date-time' }, '2026-11-21T16:00:00.123Z'),
      [],
    )
    t.match(failures({ type: 'integer', format: 'int32' }, 2 ** 40), [/int32/])
    t.strictSame(failures({ type: 'string', enum: ['a', 'b'] }, 'c'), [
      'spec: Unsupported value: "c": supported values: "a", "b"',
    ])
  },
)

t.test('keys of a list map are unique', async (t) => {
  const schema: StructuralSchema = {
    type: 'array',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['k'],
    items: { type: 'object', properties: { k: { type: 'string' }, v: number } },
  }
  t.strictSame(failures(schema, [{ k: 'a' }, { k: 'b' }]), [])
  t.strictSame(failures(schema, [{ k: 'a' }, { k: 'a', v: 1 }]), [
    'spec[1]: Duplicate value: ["a"]',
  ])
})

t.test('rules see the object that would be stored', async (t) => {
  const schema: StructuralSchema = {
    type: 'object',
    properties: { low: { ...number, default: 3 }, high: number },
    'x-kubernetes-validations': [
      { rule: 'self.low <= self.high', message: 'upside down', fieldPath: '.high' },
    ],
  }
  t.strictSame(failures(schema, { high: 3 }), [])
  t.strictSame(failures(schema, { high: 2 }), ['spec.high: Invalid value: upside down'])
  t.match(failures(schema, {}), [/rule self.low <= self.high: /], 'absent is an error')
  t.match(failures(schema, { high: 'x' }), [/type integer/], 'no rules over wrong types')
})

t.test('a transition rule is for updates, and finds items by their key', async (t) => {
  const fixed = {
    'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'is immutable' }],
  }
  t.strictSame(failures({ ...number, ...fixed }, 1), [])
  t.strictSame(failures({ ...number, ...fixed }, 1, 1), [])
  t.strictSame(failures({ ...number, ...fixed }, 1, 2), [
    'spec: Invalid value: 1: is immutable',
  ])
  const items: StructuralSchema = {
    type: 'object',
    properties: { k: { type: 'string' }, v: { ...number, ...fixed } },
  }
  const map: StructuralSchema = {
    type: 'array',
    items,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['k'],
  }
  const old = [{ k: 'a', v: 1 }]
  t.strictSame(
    failures(
      map,
      [
        { k: 'b', v: 2 },
        { k: 'a', v: 3 },
      ],
      old,
    ),
    ['spec[1].v: Invalid value: 3: is immutable'],
  )
  t.strictSame(failures({ type: 'array', items }, [{ k: 'a', v: 3 }], old), [], 'atomic')
})
