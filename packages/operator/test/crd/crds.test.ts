// SPDX-License-Identifier: Apache-2.0
// The CRDs as the API server looks at them when they are made.
import t from 'tap'
import {
  crds,
  structuralSchema,
  type CustomResourceDefinition,
  type StructuralSchema,
} from '../../src/crd/index.ts'
import { status } from '../../src/api/status.ts'
import { celTypeErrors } from '../../../../test/support/crd-cel.ts'
import { validateAgainstCrd } from '../../../../test/support/crd-validate.ts'
import { structuralErrors } from '../../../../test/support/crd-structural.ts'

const rootOf = (crd: CustomResourceDefinition): StructuralSchema => {
  const schema = crd.spec.versions[0]?.schema.openAPIV3Schema
  if (schema === undefined) throw new TypeError('no version')
  return schema
}

/** Every node below `schema` with its path and the number of times that it can occur in one object. */
function* nodes(
  schema: StructuralSchema,
  path = '',
  times = 1,
): Generator<{ schema: StructuralSchema; path: string; times: number }> {
  yield { schema, path, times }
  for (const [name, child] of Object.entries(schema.properties ?? {}))
    yield* nodes(child, `${path}.${name}`, times)
  const { items, additionalProperties, maxItems, maxProperties } = schema
  if (items !== undefined)
    yield* nodes(items, `${path}[]`, times * (maxItems ?? Number.POSITIVE_INFINITY))
  if (additionalProperties !== undefined)
    yield* nodes(
      additionalProperties,
      `${path}{}`,
      times * (maxProperties ?? Number.POSITIVE_INFINITY),
    )
}

for (const crd of crds()) {
  const { kind, plural } = crd.spec.names
  const root = rootOf(crd)

  t.test(`${kind}: names and version`, async (t) => {
    t.equal(crd.metadata.name, `${plural}.${crd.spec.group}`)
    t.strictSame(crd.spec.names.categories, ['pillion'])
    t.equal(crd.spec.versions.filter(({ storage }) => storage).length, 1)
    t.same(JSON.parse(JSON.stringify(crd)), crd, 'nothing that JSON would lose')
  })

  t.test(`${kind}: the schema is structural`, async (t) => {
    t.strictSame(structuralErrors(JSON.parse(JSON.stringify(root))), [])
  })

  t.test(`${kind}: every field is described and bounded`, async (t) => {
    for (const { schema, path, times } of nodes(root)) {
      // Items and what a CRD may not describe (metadata) have none; all fields do.
      const field = /\.[^.[{]+$/.test(path) && !path.startsWith('.metadata')
      if (field) t.match(schema.description, /^.{8,}\.$/, `${path} is described`)
      t.ok(Number.isFinite(times), `${path} is bounded`)
    }
  })

  t.test(`${kind}: rules have the right types`, async (t) => {
    t.strictSame(celTypeErrors(root), [])
    t.match(celTypeErrors({ ...root, ...ruleOf('self.spec.typo == 1') }), [/typo/])
    t.match(celTypeErrors({ ...root, ...ruleOf("'a'") }), [/not bool/])
  })

  t.test(`${kind}: rules keep within the API server's budget`, async (t) => {
    let total = 0
    for (const { schema, path, times } of nodes(root)) {
      for (const { rule } of schema['x-kubernetes-validations'] ?? []) {
        const cost = times * costOf(rule)
        t.ok(cost <= 10_000_000, `${path}: ${rule} costs ${cost}`)
        total += cost
      }
    }
    t.ok(total <= 100_000_000)
  })

  t.test(`${kind}: columns show fields that exist`, async (t) => {
    for (const { name, jsonPath } of crd.spec.versions[0]?.additionalPrinterColumns ??
      []) {
      if (jsonPath === '.metadata.creationTimestamp') continue
      const path = jsonPath.replaceAll(/\[\?\([^)]*\)\]/g, '[]')
      const known = [...nodes(root)].some((node) => node.path === path)
      t.ok(known, `${name}: ${jsonPath}`)
    }
  })

  t.test(`${kind}: defaults are valid`, async (t) => {
    for (const { schema, path } of nodes(root)) {
      if (schema.default === undefined) continue
      const wrapper: StructuralSchema = { type: 'object', properties: { f: schema } }
      const result = validateAgainstCrd(withSchema(crd, wrapper), {})
      t.strictSame([result.errors, result.pruned], [[], []], path)
      t.not(result.object['f'], undefined)
    }
  })
}

const ruleOf = (rule: string): Partial<StructuralSchema> => ({
  'x-kubernetes-validations': [{ rule, message: 'm' }],
})

const withSchema = (
  crd: CustomResourceDefinition,
  openAPIV3Schema: StructuralSchema,
): CustomResourceDefinition => ({
  ...crd,
  spec: {
    ...crd.spec,
    versions: crd.spec.versions.map((version) => ({
      ...version,
      schema: { openAPIV3Schema },
    })),
  },
})

/**
 * An upper bound in the units of the API server (one a step, ten to make a list, a tenth per character of a text, of which ours
 * that rules read have at most 317): no rule of ours has a loop, so steps are words.
 */
function costOf(rule: string): number {
  t.notMatch(
    rule,
    /\.(all|exists|exists_one|map|filter)\(/,
    'a loop needs a better bound',
  )
  const words = rule.match(/[A-Za-z_]+|[^\sA-Za-z_]+/g) ?? []
  return words.length + 10 * rule.split('[').length + 32 * rule.split('duration(').length
}

// zod leaves the default of a transformed value out of its JSON schema without a word: `prefault` it must be.
t.test('defaults are filled in by the API server', async (t) => {
  const specOf = (kind: string, spec: object): unknown => {
    const crd = crds().find(({ spec: { names } }) => names.kind === kind)
    if (crd === undefined) throw new TypeError(kind)
    return validateAgainstCrd(crd, { metadata: { name: 'default' }, spec }).object['spec']
  }
  t.strictSame(specOf('Mesh', { tracing: {} }), {
    failureMode: 'Bypass',
    acceleration: 'Auto',
    tracing: { sampleRatio: 0 },
    accessLog: false,
    otelMetrics: false,
  })
  t.strictSame(specOf('L7Service', { retryBudget: { minRetryRate: {} } }), {
    retryBudget: {
      percent: 20,
      interval: '10s',
      minRetryRate: { count: 10, interval: '1s' },
    },
  })
  t.strictSame(specOf('AccessPolicy', { rules: [{ ports: [{ port: 1 }] }] }), {
    selector: {},
    action: 'Allow',
    mode: 'Enforce',
    rules: [{ ports: [{ port: 1, protocol: 'TCP' }] }],
  })
})

t.test('conditions are a map by type, as meta/v1 has them', async (t) => {
  const schema = structuralSchema(status).properties?.['conditions']
  t.equal(schema?.['x-kubernetes-list-type'], 'map')
  t.strictSame(schema?.['x-kubernetes-list-map-keys'], ['type'])
  t.strictSame(schema?.items?.required?.toSorted(), [
    'lastTransitionTime',
    'message',
    'reason',
    'status',
    'type',
  ])
})
