// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { proofOf, verifyPod } from '../../src/install/verify.ts'

const template = {
  serviceAccountName: 'pillion-node',
  hostNetwork: true,
  containers: [
    {
      ...{ name: 'agent', image: 'agent:1', securityContext: { runAsUser: 0 } },
      args: ['--node=$(NODE_NAME)', '--pin-dir=/p', '--cgroup-root=/c', '--state-dir=/s'],
      volumeMounts: [{ name: 'bpf' }, { name: 'ca' }],
    },
  ],
  volumes: [
    { name: 'bpf', hostPath: {} },
    { name: 'ca', configMap: {} },
  ],
}

t.test('the pod of a node: the agent once more, and nothing of the mesh', async (t) => {
  const { spec } = verifyPod({ template, nodes: [] }, 'node-1', 'ns')
  t.match(spec, {
    nodeName: 'node-1',
    restartPolicy: 'Never',
    volumes: [{ name: 'bpf' }],
    serviceAccountName: undefined,
    containers: [
      {
        args: ['--uninstall', '--pin-dir=/p', '--cgroup-root=/c', '--state-dir=/s'],
        volumeMounts: [{ name: 'bpf' }],
        securityContext: { runAsUser: 0 },
      },
    ],
  })
  t.throws(() => verifyPod({ template: { containers: [] }, nodes: [] }, 'n', 'ns'), {
    code: 'failed',
  })
})

t.test('what proves that a node is clean', async (t) => {
  const clean = 'clean: nothing\n'
  t.match(proofOf('n', 'Succeeded', clean), { clean: true, detail: 'clean: nothing' })
  t.match(proofOf('n', 'Succeeded', `removed /x\n${clean}`), {
    clean: false,
    detail: /was left, and is removed now: removed \/x/,
  })
  t.match(proofOf('n', 'Succeeded', ''), { clean: false })
  t.match(proofOf('n', 'Failed', 'a\nsomething stays\n'), {
    clean: false,
    detail: 'something stays',
  })
})
