// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadManifests, parseManifests } from '../../src/manifest/load.ts'

t.test('documents, lists and default namespaces', async (t) => {
  const loaded = parseManifests(
    `
{apiVersion: v1, kind: Service, metadata: {name: a}}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: n}}
- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: n}}
`,
    'f.yaml',
  )
  t.same(
    loaded.map(({ object: { kind, metadata } }) => [
      kind,
      metadata.namespace,
      metadata.name,
    ]),
    [
      ['Service', 'default', 'a'],
      ['Namespace', undefined, 'n'],
      ['Pod', 'n', 'p'],
    ],
  )
})

t.test('errors name the file and the document', async (t) => {
  t.throws(() => parseManifests('a: [', 'f.yaml'), {
    code: 'invalid',
    message: /^f\.yaml: /,
  })
  t.throws(() => parseManifests('{}\n---\n- 1', 'f.yaml'), {
    message: /^f\.yaml#1: apiVersion/,
  })
  t.throws(() => parseManifests('{apiVersion: v1, kind: Pod}', 'f.yaml'), {
    message: 'f.yaml: Pod has no metadata.name',
  })
})

t.test(
  'a directory is read with its subdirectories, and every broken file is told',
  async (t) => {
    const dir = t.testdir({
      'b.yaml': '{apiVersion: v1, kind: Service, metadata: {name: b}}',
      'package.json': '{}',
      app: { 'x.ts': 'no manifest' },
    })
    mkdirSync(join(dir, 'sub'))
    writeFileSync(
      join(dir, 'sub', 'c.yml'),
      '{apiVersion: v1, kind: Service, metadata: {name: c}}',
    )
    t.same(
      loadManifests(dir).map(({ object }) => object.metadata.name),
      ['b', 'c'],
    )
    writeFileSync(join(dir, 'd.yaml'), 'x: [')
    writeFileSync(join(dir, 'e.yaml'), '1')
    t.throws(() => loadManifests(dir), { message: /d\.yaml: [^]*e\.yaml: / })
    t.throws(() => loadManifests(join(dir, 'none')), { code: 'not-found' })
    t.throws(() => loadManifests(join(dir, 'app')), {
      code: 'not-found',
      message: /no \.yaml file/,
    })
  },
)
