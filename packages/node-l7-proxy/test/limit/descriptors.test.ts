// SPDX-License-Identifier: Apache-2.0
import { DescriptorSource as Source } from '@pillion/contract'
import t from 'tap'
import {
  descriptorsOf,
  type LimitFacts,
  maxValueLength,
} from '../../src/limit/descriptors.ts'

const labels = {
  ...{ workload: 'web', namespace: 'shop', principal: 'unknown' },
  ...{ app: 'unknown', version: 'unknown' },
}
const facts: LimitFacts = {
  client: { namespace: 'shop', serviceAccount: 'buyer', labels, address: '10.244.1.2' },
  service: 'shop/api:8080/TCP',
  method: 'POST',
  path: '/carts/7?debug=1',
  authority: 'api.shop:8080',
  headers: ['x-user', 'ann', 'x-empty', '', 'x-many', 'a', 'x-many', 'b'],
}
const entry = (source: Source, text = '', key = 'k') => ({ source, text, key })
const asked = (
  lists: readonly ReturnType<typeof entry>[][],
  more: Partial<LimitFacts> = {},
): string[][] =>
  descriptorsOf(
    { descriptors: lists.map((entries) => ({ entries })) },
    { ...facts, ...more },
  ).map(({ entries }) => entries.map(({ key, value }) => `${key}=${value}`))

t.test('every source', async (t) => {
  const all = [
    entry(Source.VALUE, 'gold'),
    entry(Source.HEADER, 'x-user', 'user'),
    entry(Source.HEADER, 'x-many'),
    entry(Source.HEADER, 'host'),
    entry(Source.SERVICE_ACCOUNT),
    entry(Source.NAMESPACE),
    entry(Source.WORKLOAD),
    entry(Source.SERVICE),
    entry(Source.REMOTE_ADDRESS),
    entry(Source.PATH),
    entry(Source.METHOD),
  ]
  t.strictSame(asked([all]), [
    [
      ...['k=gold', 'user=ann', 'k=a,b', 'k=api.shop:8080', 'k=shop/buyer', 'k=shop'],
      ...['k=shop/web', 'k=shop/api', 'k=10.244.1.2', 'k=/carts/7', 'k=POST'],
    ],
  ])
})

t.test('what is absent skips its descriptor and no other', async (t) => {
  const value = entry(Source.VALUE, 'gold')
  const nobody = { namespace: '', serviceAccount: '', address: '10.0.0.1' }
  const client = { ...nobody, labels: { ...labels, workload: 'unknown' } }
  for (const missing of [
    entry(Source.HEADER, 'x-none'),
    entry(Source.HEADER, 'x-empty'),
    entry(Source.SERVICE_ACCOUNT),
    entry(Source.NAMESPACE),
    entry(Source.WORKLOAD),
    entry(Source.UNSPECIFIED),
  ]) {
    const lists = [[value, missing], [value], [missing]]
    t.strictSame(asked(lists, { client }), [['k=gold']], `source ${missing.source}`)
  }
  // A workload without a namespace is nobody's either.
  const lost = { client: { ...facts.client, namespace: '' } }
  t.strictSame(asked([[entry(Source.WORKLOAD)]], lost), [])
})

t.test('long values are cut', async (t) => {
  const headers = ['x-user', 'a'.repeat(5000)]
  const [[pair = ''] = []] = asked([[entry(Source.HEADER, 'x-user')]], { headers })
  t.equal(pair.length, 'k='.length + maxValueLength)
})
