// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { decode, encode, merge, reportOf, translate } from '../../src/ha/peers.ts'
import type { SubscriberStatus } from '../../src/publish/publisher.ts'

const at = (
  node: string,
  ackedVersion: number,
  rest: Partial<SubscriberStatus> = {},
): SubscriberStatus =>
  ({
    ...{ node, role: 'agent', connected: true, softwareVersion: '1', mapLayout: '' },
    ...{ current: true, ackedVersion, nack: undefined },
    ...rest,
  }) as SubscriberStatus

const published = (version: number, versions: Record<string, number>, suffix = '') => ({
  version,
  publishedIn: new Map(Object.entries(versions)),
  contentOf: (key: string) => `${key}${suffix}`,
})
const keys = ['a', 'b']

t.test('what a subscriber of another replica holds, in our numbers', async (t) => {
  // There a is version 3 and b version 9; here a is 20 and b 10.
  const there = published(9, { a: 3, b: 9 })
  const here = published(21, { a: 20, b: 10 })
  const report = reportOf([at('n1', 9), at('n2', 5), at('n3', 0)], there, keys)
  const packed = decode(encode(report))
  t.ok(packed)
  if (packed === undefined) return
  t.same(
    translate(packed, here, keys).map(({ node, ackedVersion }) => [node, ackedVersion]),
    [
      ['n1', 21],
      ['n2', 9],
      ['n3', 9],
    ],
    'n2 lacks b: and with it all that came after b here',
  )
})

t.test('a replica that knows another content of an object counts for none', async (t) => {
  const report = reportOf([at('n1', 9)], published(9, { a: 3, b: 9 }, ' old'), keys)
  t.equal(translate(report, published(21, { a: 20, b: 10 }), keys)[0]?.ackedVersion, 9)
  const without = reportOf([at('n1', 9)], published(9, { b: 9 }), keys)
  const here = published(21, { a: 20, b: 10 })
  t.equal(translate(without, here, keys)[0]?.ackedVersion, 19, 'a is not there yet')
})

t.test('a report says the same while versions pass that concern no object', async (t) => {
  const first = reportOf([at('n1', 9)], published(9, { a: 3 }), keys)
  const later = reportOf(
    [at('n1', 40, { current: false })],
    published(44, { a: 3 }),
    keys,
  )
  t.equal(encode(later), encode(first))
})

t.test('who has moved is where it is connected', async (t) => {
  const merged = merge(
    [at('n1', 3, { connected: false }), at('n2', 4)],
    [[at('n1', 9), at('n2', 1, { connected: false }), at('n3', 5)]],
  )
  t.same(
    merged.map(({ node, ackedVersion }) => [node, ackedVersion]),
    [
      ['n1', 9],
      ['n2', 4],
      ['n3', 5],
    ],
  )
  t.equal(decode('no report'), undefined)
})
