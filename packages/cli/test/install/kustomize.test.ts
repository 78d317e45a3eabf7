// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import t from 'tap'
import { defaultManifests, loadManifests } from '../../src/install/kustomize.ts'
import { inOrder } from '../../src/install/order.ts'

t.test('manifests/default is understood as it stands', async (t) => {
  const kinds = new Set(loadManifests(defaultManifests).map(({ kind }) => kind))
  for (const kind of [
    'Namespace',
    'CustomResourceDefinition',
    'Deployment',
    'ClusterRole',
  ])
    t.ok(kinds.has(kind), kind)
  const ordered = inOrder(loadManifests(defaultManifests)).map(({ kind }) => kind)
  t.equal(ordered[0], 'Namespace')
  t.ok(ordered.indexOf('ServiceAccount') < ordered.indexOf('Deployment'))
  t.ok(
    ordered.lastIndexOf('CustomResourceDefinition') < ordered.indexOf('ServiceAccount'),
  )
})

const account = 'kind: ServiceAccount\napiVersion: v1\nmetadata: { name: a }\n'
const binding = `kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: { name: b }
subjects: [{ kind: ServiceAccount, name: a, namespace: old }]
`
const pod =
  'kind: Pod\napiVersion: v1\nmetadata: { name: p }\nspec: { containers: [{ image: "r:5000/x:1" }] }\n'

t.test('folders, namespace and images', async (t) => {
  const dir = t.testdir({
    base: { 'all.yaml': `${account}---\n${binding}`, 'README.md': 'no manifest' },
    overlay: {
      'kustomization.yaml':
        'kind: Kustomization\nresources: [../base, pod.yaml]\nnamespace: other\nimages: [{ name: "r:5000/x", newTag: "2" }]\n',
      'pod.yaml': pod,
    },
  })
  t.match(loadManifests(join(dir, 'overlay')), [
    { metadata: { name: 'a', namespace: 'other' } },
    { metadata: { name: 'b', namespace: undefined }, subjects: [{ namespace: 'other' }] },
    { spec: { containers: [{ image: 'r:5000/x:2' }] } },
  ])
  t.equal(loadManifests(join(dir, 'base')).length, 2)
})

t.test('what is not understood is refused', async (t) => {
  const dir = t.testdir({
    patched: { 'kustomization.yaml': 'kind: Kustomization\npatches: []\n' },
    loop: { 'kustomization.yaml': 'kind: Kustomization\nresources: [.]\n' },
    'bad.yaml': 'kind: Pod\n',
  })
  t.throws(() => loadManifests(join(dir, 'patched')), /patches is not understood here/)
  t.throws(() => loadManifests(join(dir, 'loop')), /more than 8 folders deep/)
  t.throws(() => loadManifests(join(dir, 'bad.yaml')), /bad\.yaml.*apiVersion/)
  t.throws(() => loadManifests(join(dir, 'none')), { code: 'usage' })
})
