// SPDX-License-Identifier: Apache-2.0
import { parseAddress } from '@pillion/contract'
import t from 'tap'
import { membersOf, readyFor } from '../../src/cluster/members.ts'
import { makeEndpoint } from '../support/endpoint.ts'

const place = { node: 'node-1', zone: 'zone-a' }
const near = makeEndpoint('10.0.0.1', { node: 'node-1' })
const far = makeEndpoint('10.0.0.2', { node: 'node-2' })
const cluster = parseAddress('10.96.0.5')
const outside = parseAddress('10.245.0.1')

t.test('a service that is not restricted has one list', async (t) => {
  const open = { localOnly: false, addresses: [cluster] }
  const members = membersOf(open, [near, far], place)
  t.same(members.ready, [near, far])
  t.equal(readyFor(members, true, cluster), members.ready)
  t.equal(readyFor(members, true, outside), members.ready)
})

t.test('internalTrafficPolicy Local is about cluster addresses', async (t) => {
  const local = { localOnly: true, addresses: [cluster] }
  const members = membersOf(local, [near, far], place)
  t.same(readyFor(members, true, cluster), [near])
  t.same(readyFor(members, true, outside), [near, far], 'node port or external address')
  t.same(readyFor(members, false, outside), [near], 'a route led here')
  const none = membersOf(local, [far], place)
  t.same(readyFor(none, true, cluster), [])
})

t.test('hints and the last resort', async (t) => {
  const open = { localOnly: false, addresses: [cluster] }
  const hinted = ['a', 'b'].map((zone, i) =>
    makeEndpoint(`10.0.0.${i + 1}`, { hintZones: [`zone-${zone}`] }),
  )
  t.same(membersOf(open, hinted, place).ready, hinted.slice(0, 1))
  const leaving = makeEndpoint('10.0.0.3', { terminating: true })
  t.same(membersOf(open, [leaving, near], place).ready, [near])
  t.same(membersOf(open, [leaving], place).ready, [leaving])
})
