// SPDX-License-Identifier: Apache-2.0
// zod and the API server judge alike: what one refuses the other refuses, in the same words where rules are ours. Whatever only
// the operator can see is listed with its reason.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readDocuments } from '../../src/api/manifest.ts'
import { apiKindOf, parseObject, type RawObject } from '../../src/api/object.ts'
import {
  crds,
  type CustomResourceDefinition,
  type StructuralSchema,
} from '../../src/crd/index.ts'
import { validateAgainstCrd } from '../../../../test/support/crd-validate.ts'
import {
  l7,
  operatorOnly,
  refusedByRule,
  refusedBySchema,
  valid,
} from '../support/crd-cases.ts'

const byKind = new Map(crds().map((crd) => [crd.spec.names.kind, crd]))

function crdOf(kind: string): CustomResourceDefinition {
  const crd = byKind.get(kind)
  if (crd === undefined) throw new TypeError(`no CRD of ${kind}`)
  return crd
}

/** "field: message" of zod, with every field that it blames. */
function operatorErrors(raw: RawObject): { field: string; message: string }[] {
  const kind = apiKindOf(raw)
  if (kind === undefined) throw new TypeError(`${raw.kind} is not read`)
  return parseObject(kind, raw, 'test.yaml').errors.map(({ field, message }) => ({
    field,
    message,
  }))
}

t.test('what is valid is valid to both', async (t) => {
  for (const raw of valid) {
    const text = JSON.stringify(raw)
    t.strictSame(operatorErrors(raw), [], text)
    const { errors, pruned } = validateAgainstCrd(crdOf(raw.kind), raw)
    t.strictSame([errors, pruned], [[], []], text)
  }
})

t.test('the API server stores what zod reads alike', async (t) => {
  for (const raw of valid) {
    const kind = apiKindOf(raw)
    if (kind === undefined) throw new TypeError(raw.kind)
    const stored = validateAgainstCrd(crdOf(raw.kind), raw).object as unknown as RawObject
    const direct = parseObject(kind, raw, '').object
    t.strictSame(parseObject(kind, stored, '').object, direct, JSON.stringify(raw))
  }
})

t.test('schemas refuse what zod refuses, at the same field', async (t) => {
  for (const [raw, field] of refusedBySchema) {
    const text = JSON.stringify(raw)
    t.strictSame(
      operatorErrors(raw)
        .map((error) => error.field)
        .slice(0, 1),
      [field],
      text,
    )
    const { errors } = validateAgainstCrd(crdOf(raw.kind), raw)
    const [first] = errors.map((error) => error.field.replace(/\[([a-z]+)\]$/, '.$1'))
    // The second of two equal items is blamed, where zod blames the list.
    t.equal(first?.replace(/\[1\]$/, ''), field, `${text}: ${JSON.stringify(errors)}`)
  }
})

t.test('rules refuse what zod refuses, in the same words', async (t) => {
  const hit = new Set<string>()
  for (const raw of refusedByRule) {
    const text = JSON.stringify(raw)
    const [error, ...more] = operatorErrors(raw)
    t.strictSame(more, [], text)
    const { errors } = validateAgainstCrd(crdOf(raw.kind), raw)
    t.equal(errors.length, 1, text)
    t.equal(errors[0]?.field, error?.field, text)
    t.ok(errors[0]?.message.endsWith(`: ${error?.message}`), text)
    hit.add(error?.message ?? '')
  }
  const all = crds().flatMap(({ spec }) =>
    spec.versions.flatMap(({ schema }) => messagesOf(schema.openAPIV3Schema)),
  )
  t.strictSame([...new Set(all)].toSorted(), [...hit].toSorted(), 'every rule has a case')
})

function messagesOf(schema: StructuralSchema): string[] {
  const below = [
    ...Object.values(schema.properties ?? {}),
    ...(schema.items === undefined ? [] : [schema.items]),
  ]
  const own = schema['x-kubernetes-validations'] ?? []
  return [...own.map(({ message }) => message), ...below.flatMap(messagesOf)]
}

t.test('what only the operator sees', async (t) => {
  for (const [raw, why] of operatorOnly) {
    t.ok(operatorErrors(raw).length > 0, why)
    t.strictSame(validateAgainstCrd(crdOf(raw.kind), raw).errors, [], why)
  }
})

t.test(
  'an unknown field is pruned, or refused where the client asks for it',
  async (t) => {
    const raw = l7({ retry: {}, targetRef: { name: 'web', ports: [80] } })
    t.strictSame(
      operatorErrors(raw).map(({ field }) => field),
      ['spec.targetRef.ports', 'spec.retry'],
    )
    const { object: stored, errors, pruned } = validateAgainstCrd(crdOf(raw.kind), raw)
    t.strictSame(errors, [])
    t.strictSame(pruned.toSorted(), ['spec.retry', 'spec.targetRef.ports'])
    t.strictSame(stored['spec'], { targetRef: { name: 'web' }, protocol: 'http' })
  },
)

// Every place of every sample, with values of every type in turn: a difference that nobody thought of.
t.test('each field with a foreign value is judged alike', async (t) => {
  const dir = join(import.meta.dirname, '../../../../manifests/samples')
  const samples = readdirSync(dir)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => readDocuments(readFileSync(join(dir, name), 'utf8')))
    .flatMap(({ objects }) => objects)
  let compared = 0
  for (const sample of samples) {
    for (const changed of variants(sample['spec'])) {
      const raw = { ...sample, spec: changed }
      const { errors, pruned } = validateAgainstCrd(crdOf(raw.kind), raw)
      const server = errors.length + pruned.length === 0
      const operator = operatorErrors(raw).length === 0
      if (server !== operator) t.equal(server, operator, JSON.stringify(raw))
      compared += 1
    }
  }
  t.ok(compared > 1000, `${compared} objects compared`)
})

const foreign = [true, 7, -1, 0.5, 70_000, '', 'a b', 'In', '1s', '99h', [], [1], {}]

/** Copies of `value` in which one place has a foreign value, or is missing, or has an unknown field. */
function* variants(value: unknown): Generator<unknown> {
  yield* foreign
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      yield value.toSpliced(i, 1)
      for (const changed of variants(item)) yield value.with(i, changed)
    }
  } else if (typeof value === 'object' && value !== null) {
    yield { ...value, unknownField: 1 }
    for (const [key, item] of Object.entries(value)) {
      yield Object.fromEntries(Object.entries(value).filter(([name]) => name !== key))
      for (const changed of variants(item)) yield { ...value, [key]: changed }
    }
  }
}
