// SPDX-License-Identifier: Apache-2.0
import { Balancing, HashSource, parseAddress } from '@pillion/contract'
import t from 'tap'
import { hashKey } from '../../../src/cluster/balance/hash-key.ts'

const source = parseAddress('10.1.2.3')
const by = (hashSource: HashSource, hashName = ''): Balancing =>
  Balancing.fromPartial({ hashSource, hashName })

t.test('a header, a cookie, the address, or nothing', async (t) => {
  const headers = ['x-user', 'ada', 'cookie', 'a=1; user=ada', 'cookie', 'late=2']
  const header = hashKey(by(HashSource.HEADER, 'x-user'), headers, source)
  t.type(header, 'number')
  t.equal(hashKey(by(HashSource.COOKIE, 'user'), headers, source), header, 'same text')
  t.type(hashKey(by(HashSource.COOKIE, 'late'), headers, source), 'number')
  t.equal(hashKey(by(HashSource.COOKIE, 'use'), headers, source), undefined)
  t.equal(hashKey(by(HashSource.HEADER, 'x-other'), headers, source), undefined)
  t.equal(hashKey(by(HashSource.UNSPECIFIED), headers, source), undefined)
  const address = hashKey(by(HashSource.ADDRESS), headers, source)
  t.equal(hashKey(by(HashSource.ADDRESS), [], parseAddress('10.1.2.3')), address)
  t.not(hashKey(by(HashSource.ADDRESS), [], parseAddress('10.1.2.4')), address)
})
