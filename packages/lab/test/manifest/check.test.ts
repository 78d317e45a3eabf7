// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { checkRunnable } from '../../src/manifest/check.ts'
import { parseManifests } from '../../src/manifest/load.ts'

const nodes = ['node-1', 'node-2']

function problems(text: string): string[] {
  return checkRunnable(parseManifests(text, 'a.yaml'), nodes)
}

t.test('what the lab cannot run is refused with file, object and field', async (t) => {
  const [first, ...rest] = problems(`
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop}
spec: {nodeName: node-9, containers: [{image: nginx}]}`)
  t.match(first, 'a.yaml: Pod shop/a: spec.nodeName: "node-9" is not a node of this lab')
  t.match(rest, [/spec\.containers\[0\]\.command: missing/])
})

t.test('wrong types, selectors and probes', async (t) => {
  const found = problems(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  replicas: 1
  selector: {matchLabels: {app: b}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
      - command: [sleep, 1]
        env: [{name: N, value: 5}, {name: S, valueFrom: {secretKeyRef: {name: x, key: y}}}]
        readinessProbe: {periodSeconds: 1}`)
  t.match(found, [
    /spec\.selector: "app: b"/,
    /command: must be a list of strings/,
    /env\[0\]\.value: value of N must be a string/,
    /env\[1\]\.valueFrom: the lab knows only fieldRef/,
    /readinessProbe: must have exactly one of/,
  ])
})

t.test('names that would reach outside of the run directory are refused', async (t) => {
  t.match(
    problems(
      '{apiVersion: v1, kind: Pod, metadata: {name: ../x}, spec: {containers: [{command: [a]}]}}',
    ),
    [/metadata\.name: "\.\.\/x" is not a DNS name/],
  )
})

t.test('a good pod has no problem', async (t) => {
  t.same(
    problems(`
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {nodeName: node-2, containers: [{command: [sleep, "1"], readinessProbe: {tcpSocket: {port: 1}}}]}`),
    [],
  )
})

t.test('a Node manifest is about a node that there is', async (t) => {
  const node = (name: string) =>
    `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}, labels: {topology.kubernetes.io/zone: a}}`
  t.same(problems(node('node-2')), [])
  t.same(problems(node('node-3')), [
    'a.yaml: Node node-3: metadata.name: "node-3" is not a node of this lab (node-1, node-2)',
  ])
})
