// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { unacknowledged } from '../../src/mesh/acks.ts'

const subscriber = (node: string, role: string, ackedVersion: number, error = '') => ({
  node,
  role,
  ackedVersion,
  error,
})

t.test('every agent and proxy acknowledged the latest version', async (t) => {
  const subscribers = [subscriber('node-1', 'agent', 4), subscriber('node-1', 'proxy', 4)]
  t.same(unacknowledged({ version: 4, subscribers }, ['node-1']), [])
})

t.test('what is missing is named', async (t) => {
  const subscribers = [
    subscriber('node-1', 'agent', 3),
    subscriber('node-1', 'proxy', 4, 'no such route'),
    subscriber('node-2', 'agent', 4),
  ]
  t.same(unacknowledged({ version: 4, subscribers }, ['node-1', 'node-2']), [
    "node-1's agent acknowledged version 3 of 4",
    "node-1's proxy refuses the configuration: no such route",
    "node-2's proxy is not connected to the operator",
  ])
  t.equal(unacknowledged({}, ['node-1']).length, 2)
})
