// SPDX-License-Identifier: Apache-2.0
// What a node knows a pod by.
import t from 'tap'
import { compileYaml, node } from '../support/objects.ts'

const hash = '7c8f2d5b3a9e4f1c8d7e6b5a49382716'
const uid = '0a1b2c3d-1111-2222-3333-444455556666'

function uidOf(annotation: string, owner: string): string | undefined {
  const pod = `
---
apiVersion: v1
kind: Pod
metadata:
  name: p
  namespace: kube-system
  uid: ${uid}
  annotations: {kubernetes.io/config.mirror: ${JSON.stringify(annotation)}}
  ownerReferences: [{kind: ${owner}, name: node-1, controller: true}]
spec: {nodeName: node-1, containers: [{name: c}]}
status: {podIPs: [{ip: 10.244.1.9}]}
`
  const { workloads } = compileYaml(node('node-1', '10.0.0.1') + pod)
  return workloads.facts.get('kube-system/p')?.workload.uid
}

t.test("a static pod's mirror: the hash that its cgroup has", async (t) => {
  t.equal(uidOf(hash, 'Node'), hash)
})

t.test('no annotation makes a pod somebody else', async (t) => {
  t.equal(uidOf(hash, 'ReplicaSet'), uid, 'not a mirror')
  t.equal(uidOf('11111111-2222-3333-4444-555555555555', 'Node'), uid, 'an uid of the API')
  t.equal(uidOf('', 'Node'), uid)
})
