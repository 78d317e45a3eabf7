// SPDX-License-Identifier: Apache-2.0
import { Delta, Resource } from '@pillion/contract'
import t from 'tap'
import { encodeDelta } from '../../src/publish/encode.ts'

const upsert = (name: string, value: object): Resource =>
  ({ name, body: { $case: 'identity', value } }) as Resource
const value = {
  id: 300,
  namespace: 'shop',
  serviceAccount: 'default',
  labels: { app: 'a' },
}
const delta = (upserts: Resource[]): Delta => ({
  ...{ version: 7, epoch: 'e', full: true, upserts },
  removals: [{ kind: 'identity', name: '299' }],
  replaced: [{ kind: 'rule', buckets: [3, 1000] }],
})

t.test('decodes to what was sent, also the second time', async (t) => {
  const one = delta([upsert('300', value), upsert('301', { ...value, id: 301 })])
  const plain = Delta.decode(Buffer.from(Delta.encode(one).finish()))
  for (const again of [1, 2]) {
    t.same(Delta.decode(encodeDelta(one)), plain, `time ${again}`)
  }
  t.same(Delta.decode(encodeDelta(delta([]))).upserts, [])
})

t.test('one value under two names is two resources', async (t) => {
  const both = encodeDelta(delta([upsert('a', value), upsert('b', value)]))
  t.same(
    Delta.decode(both).upserts.map(({ name }) => name),
    ['a', 'b'],
  )
})
