// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  labNetns,
  nodeInfo,
  PodAddresses,
  podLink,
  podNetns,
} from '../../src/net/addresses.ts'

t.test('the layout of a node', async (t) => {
  t.match(nodeInfo(2), {
    name: 'node-2',
    netns: 'pillion-node-2',
    addresses: ['10.245.0.2', 'fd00:10:245::2'],
    gateways: ['10.244.2.1', 'fd00:10:244:2::1'],
  })
})

t.test('pod addresses: unique, freed ones last, an error when full', async (t) => {
  const pool = new PodAddresses(nodeInfo(1))
  const all = Array.from({ length: 253 }, () => pool.allocate())
  t.same(all[0], ['10.244.1.2', 'fd00:10:244:1::2'])
  t.same(all.at(-1), ['10.244.1.254', 'fd00:10:244:1::254'])
  t.equal(new Set(all.map(([ipv4]) => ipv4)).size, 253)
  t.throws(() => pool.allocate(), { message: /node-1 has no free pod address \(253/ })
  pool.release(['10.244.1.7', ''])
  t.equal(pool.allocate()[0], '10.244.1.7')
  const young = new PodAddresses(nodeInfo(1))
  const first = young.allocate()
  young.release(first)
  t.not(
    young.allocate()[0],
    first[0],
    'an address that was just freed is not given out at once',
  )
})

t.test('names fit the kernel and are found again', async (t) => {
  const node = nodeInfo(1)
  t.equal(podNetns(node, 'shop', 'web'), 'pillion-node-1-shop-web')
  const long = podNetns(node, 'n'.repeat(40), `${'p'.repeat(60)}-a`)
  t.ok(long.length <= 63)
  t.not(long, podNetns(node, 'n'.repeat(40), `${'p'.repeat(60)}-b`))
  t.ok(podLink('81cd4f07-d62a').length <= 15)
  for (const name of ['pillion-fabric', node.netns, long]) t.match(name, labNetns)
  for (const name of ['pillion-test-1', 'pillion', 'other', 'xpillion-node-1']) {
    t.notMatch(name, labNetns, `${name} is not the lab's to delete`)
  }
})
