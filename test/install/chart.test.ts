// SPDX-License-Identifier: Apache-2.0
// The chart is what its generator writes, and with its own values it is manifests/default.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'

const root = join(import.meta.dirname, '../..')
const chart = join(root, 'charts/pillion')

const filesBelow = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
    .sort()

const objectsIn = (text: string): unknown[] =>
  parseAllDocuments(text)
    .map((document) => document.toJS() as unknown)
    .filter((object) => object !== null)

/** What Helm does with `{{ .A.B }}`; the chart uses nothing else, and anything else is an error. */
function render(text: string, values: object): string {
  return text.replaceAll(/\{\{(.*?)\}\}/g, (_, expression: string) => {
    const path = /^ \.((?:\w+\.)*\w+) $/.exec(expression)?.[1]?.split('.')
    const value = path?.reduce<unknown>(
      (at, key) => (at as Record<string, unknown> | undefined)?.[key],
      values,
    )
    if (typeof value !== 'string' && typeof value !== 'number')
      throw new TypeError(`{{${expression}}}`)
    return String(value)
  })
}

const valuesOf = (): object =>
  parse(readFileSync(join(chart, 'values.yaml'), 'utf8')) as object

t.test('generated files are current', async (t) => {
  const out = t.testdir()
  execFileSync(process.execPath, [join(root, 'tools/gen-chart.ts'), out])
  const fresh = join(out, 'charts/pillion')
  t.strictSame(filesBelow(chart), filesBelow(fresh))
  for (const file of filesBelow(fresh))
    t.equal(
      readFileSync(join(chart, file), 'utf8'),
      readFileSync(join(fresh, file), 'utf8'),
      file,
    )
})

t.test('with its own values it is manifests/default', async (t) => {
  const scope = { Release: { Namespace: 'pillion-system' }, Values: valuesOf() }
  for (const file of filesBelow(join(chart, 'templates'))) {
    const made = objectsIn(
      render(readFileSync(join(chart, 'templates', file), 'utf8'), scope),
    )
    const wanted = objectsIn(readFileSync(join(root, 'manifests/default', file), 'utf8'))
    t.ok(made.length > 2)
    t.strictSame(made, wanted, file)
  }
  for (const file of filesBelow(join(chart, 'crds')))
    t.ok(existsSync(join(root, 'manifests/crd', file)), file)
})

t.test('values and the namespace reach the objects', async (t) => {
  const images = { operator: 'o:9', agent: 'a:9', proxy: 'p:9' }
  const scope = { Release: { Namespace: 'mine' }, Values: { replicas: 3, images } }
  const text = filesBelow(join(chart, 'templates'))
    .map((file) => readFileSync(join(chart, 'templates', file), 'utf8'))
    .join('\n---\n')
  const made = JSON.stringify(objectsIn(render(text, scope)))
  t.notMatch(made, /pillion-system/)
  for (const each of [
    '"replicas":3',
    '"image":"o:9"',
    '--agent-image=a:9',
    '--proxy-image=p:9',
  ])
    t.ok(made.includes(each), each)
})
