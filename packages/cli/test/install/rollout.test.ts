// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { deploymentProgress, meshProgress } from '../../src/install/rollout.ts'

const mesh = (conditions: object[]) => ({
  metadata: { name: 'default', generation: 3 },
  status: { conditions },
})
const installed = (status: string, reason: string, observedGeneration = 3) => ({
  ...{ type: 'Installed', message: '1 of 2 nodes', status, reason, observedGeneration },
})

t.test('how an installation stands', async (t) => {
  for (const [conditions, state] of [
    [[], 'waiting'],
    [[installed('True', 'Installed', 2)], 'waiting'],
    [[installed('False', 'Progressing')], 'waiting'],
    [[installed('False', 'Halted')], 'failed'],
    [[installed('True', 'Installed')], 'done'],
    [
      [
        { type: 'Accepted', status: 'False', message: 'no', observedGeneration: 3 },
        installed('True', 'Installed'),
      ],
      'failed',
    ],
  ] as const)
    t.equal(meshProgress(mesh([...conditions])).state, state)
})

t.test('a Deployment is there when its newest replicas are', async (t) => {
  const deployment = (status: object) => ({
    metadata: { name: 'd', generation: 2 },
    spec: { replicas: 2 },
    status: { observedGeneration: 2, ...status },
  })
  const full = { replicas: 2, updatedReplicas: 2, availableReplicas: 2 }
  t.equal(deploymentProgress(deployment(full)), '')
  t.match(deploymentProgress(undefined), /does not exist/)
  t.match(
    deploymentProgress(deployment({ ...full, observedGeneration: 1 })),
    /no controller has looked/,
  )
  t.match(deploymentProgress(deployment({ ...full, availableReplicas: 1 })), /1 of 2/)
  t.match(deploymentProgress(deployment({ ...full, replicas: 3 })), /2 of 2/)
})
