// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { acknowledgements, unacknowledged } from '../../src/mesh/acks.ts'

const subscriber = (node: string, role: 'agent' | 'proxy', ackedVersion: number) => ({
  node,
  role,
  ackedVersion,
  connected: true,
  current: ackedVersion === 4,
})

t.test('every agent and proxy has the latest version', async (t) => {
  const nodes = [subscriber('node-1', 'agent', 4), subscriber('node-1', 'proxy', 4)]
  t.same(unacknowledged({ version: 4, nodes }, ['node-1']), [])
  t.match(acknowledgements({ version: 4, nodes }, ['node-1']), [
    { node: 'node-1', agentVersion: 4, proxyVersion: 4 },
  ])
})

t.test('what is missing is named', async (t) => {
  const nodes = [
    subscriber('node-1', 'agent', 3),
    {
      ...subscriber('node-1', 'proxy', 3),
      nack: { version: 4, reason: 'no such route' },
    },
    subscriber('node-2', 'agent', 4),
    { ...subscriber('node-2', 'proxy', 4), connected: false },
  ]
  const errors = [{ text: 'a.yaml: Pod t/a: spec: missing' }]
  t.same(unacknowledged({ version: 4, nodes, errors }, ['node-1', 'node-2']), [
    "node-1's agent acknowledged version 3 of 4",
    "node-1's proxy refuses the configuration: no such route",
    "node-2's proxy is not connected to the operator",
    'the operator refuses a.yaml: Pod t/a: spec: missing',
  ])
  t.equal(unacknowledged({ version: 0, nodes: [] }, ['node-1']).length, 2)
})
