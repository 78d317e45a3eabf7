// SPDX-License-Identifier: Apache-2.0
// manifests/samples: valid to everybody, and every field of every kind occurs.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { loadDirectory } from '../../src/api/load.ts'
import { apiKindOf, parseObject } from '../../src/api/object.ts'
import { crds, type StructuralSchema } from '../../src/crd/index.ts'
import { validateAgainstCrd } from '../../../../test/support/crd-validate.ts'

const dir = join(import.meta.dirname, '../../../../manifests/samples')
const { objects, errors } = loadDirectory(dir)

/** Paths of all fields: "spec.rules[].from[].podSelector". */
function fields(schema: StructuralSchema, path: string): string[] {
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, child]) => [
    `${path}.${name}`,
    ...fields(child, `${path}.${name}`),
  ])
  return schema.items === undefined ? below : fields(schema.items, `${path}[]`)
}

/** Paths that `value` uses, as `fields` writes them. */
function used(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => used(item, `${path}[]`))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, child]) => [
    `${path}.${name}`,
    ...used(child, `${path}.${name}`),
  ])
}

t.test('samples are valid to the operator and to the API server', async (t) => {
  t.strictSame(errors, [])
  for (const raw of objects) {
    const kind = apiKindOf(raw)
    const crd = crds().find(({ spec }) => spec.names.kind === raw.kind)
    if (kind === undefined || crd === undefined) throw new TypeError(raw.kind)
    const name = `${raw.kind} ${raw.metadata.name}`
    t.strictSame(parseObject(kind, raw, '').errors, [], name)
    const result = validateAgainstCrd(crd, raw)
    t.strictSame([result.errors, result.pruned], [[], []], name)
  }
})

t.test('every field occurs in a sample', async (t) => {
  for (const crd of crds()) {
    const { kind } = crd.spec.names
    const spec = crd.spec.versions[0]?.schema.openAPIV3Schema.properties?.['spec']
    const all = fields(spec ?? {}, 'spec')
    t.ok(all.length > 4, kind)
    const seen = new Set(
      objects.flatMap((raw) => (raw.kind === kind ? used(raw['spec'], 'spec') : [])),
    )
    t.strictSame(
      all.filter((path) => !seen.has(path)),
      [],
      kind,
    )
  }
})

// kubectl reads YAML 1.1, to which On, Off, Yes and No are booleans and 1:30 is a number.
t.test('samples and CRDs mean the same in YAML 1.1 and 1.2', async (t) => {
  const folders = [dir, join(dir, '../crd')]
  for (const folder of folders) {
    const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'))
    t.ok(files.length > 2)
    for (const file of files) {
      const text = readFileSync(join(folder, file), 'utf8')
      const read = (version: '1.1' | '1.2'): unknown =>
        parseAllDocuments(text, { version }).map((document): unknown => document.toJS())
      t.strictSame(read('1.1'), read('1.2'), file)
    }
  }
})
