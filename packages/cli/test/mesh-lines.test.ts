// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import type { Condition } from '../src/install/rollout.ts'
import { meshLines } from '../src/mesh-lines.ts'

const condition = (
  type: string,
  status: string,
  reason: string,
  message: string,
): Condition => ({ type, status, reason, message })

t.test('a halt is told with its node and reason, before the rest', async (t) => {
  const why = '1 of 3 nodes; a: its proxy refused: map layout; change the Mesh to go on'
  const lines = meshLines([
    condition('Accepted', 'True', 'Accepted', 'in force'),
    condition('Degraded', 'True', 'FeaturesMissing', 'acceleration-auto: no right (a)'),
    condition('NodesReady', 'False', 'NodesNotReady', '2 of 3 nodes ready'),
    condition('Installed', 'False', 'Halted', why),
  ])
  t.strictSame(lines, [
    { text: `Mesh default: Installed=False (Halted): ${why}`, isGood: false },
    {
      text: 'Mesh default: Degraded=True (FeaturesMissing): acceleration-auto: no right (a)',
      isGood: false,
    },
    {
      text: 'Mesh default: NodesReady=False (NodesNotReady): 2 of 3 nodes ready',
      isGood: false,
    },
  ])
})

t.test('when all is well, one line', async (t) => {
  const lines = meshLines([
    condition('Degraded', 'False', 'AllFeatures', ''),
    condition('NodesReady', 'True', 'Ready', '3 of 3 nodes ready'),
    condition('Installed', 'True', 'Installed', '3 of 3 nodes'),
  ])
  t.strictSame(lines, [{ text: 'Mesh default: Installed: 3 of 3 nodes', isGood: true }])
  t.strictSame(meshLines([]), [])
})
