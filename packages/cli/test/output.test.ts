// SPDX-License-Identifier: Apache-2.0
import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { flowLine } from '../src/command/flows.ts'
import { age, table } from '../src/output.ts'

t.test('tables have no borders and no trailing blanks', async (t) => {
  const text = stripVTControlCharacters(
    table(
      ['NAME', 'X'],
      [
        ['a', '1'],
        ['longer', ''],
      ],
    ),
  )
  t.equal(text, 'NAME    X\na       1\nlonger')
})

t.test('ages', async (t) => {
  const now = Date.parse('2026-01-02T00:00:00Z')
  t.equal(age('2026-01-01T23:59:18Z', now), '42s')
  t.equal(age('2026-01-01T23:30:00Z', now), '30m')
  t.equal(age('2026-01-01T10:00:00Z', now), '14h')
  t.equal(age('2025-12-25T00:00:00Z', now), '8d')
  t.equal(age(undefined, now), '')
})

t.test('flows in one line', async (t) => {
  const line = stripVTControlCharacters(
    flowLine('node-1', {
      time: '2026-01-01T10:11:12.345Z',
      kind: 'deny',
      protocol: 'TCP',
      src: { address: '10.244.1.2', port: 4000, namespace: 'shop', pod: 'client' },
      dst: { address: 'fd00::1', port: 6379 },
      service: 'shop/redis:6379/TCP',
      rule: 'NetworkPolicy shop/redis',
    }),
  )
  t.equal(
    line,
    '10:11:12.345  node-1  deny   TCP  shop/client:4000 → [fd00::1]:6379 (shop/redis:6379/TCP)' +
      '  rule: NetworkPolicy shop/redis',
  )
})
