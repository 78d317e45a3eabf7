// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  formatAddress,
  formatEndpoint,
  isMappedIPv4,
  parseAddress,
} from '../src/index.ts'

/** Text, its 16 bytes, and its canonical text (RFC 5952). */
const cases: readonly (readonly [string, string, string])[] = [
  ['10.244.1.2', '00000000000000000000ffff0af40102', '10.244.1.2'],
  ['::ffff:10.0.0.1', '00000000000000000000ffff0a000001', '10.0.0.1'],
  ['::', '00000000000000000000000000000000', '::'],
  ['::1', '00000000000000000000000000000001', '::1'],
  ['fd00:10:244:1::2', 'fd000010024400010000000000000002', 'fd00:10:244:1::2'],
  ['FD00:0:0:1:0:0:0:1', 'fd000000000000010000000000000001', 'fd00:0:0:1::1'],
  ['1:0:2:0:0:3:0:0', '00010000000200000000000300000000', '1:0:2::3:0:0'],
  ['1:2:3:4:5:6:7:0', '00010002000300040005000600070000', '1:2:3:4:5:6:7:0'],
  ['64:ff9b::192.0.2.1', '0064ff9b0000000000000000c0000201', '64:ff9b::c000:201'],
]

t.test('text to bytes and back', async (t) => {
  for (const [text, hex, canonical] of cases) {
    t.equal(parseAddress(text).toString('hex'), hex, text)
    t.equal(formatAddress(Buffer.from(hex, 'hex')), canonical, text)
  }
})

t.test('what is no address is refused by name', async (t) => {
  for (const text of [
    '',
    '10.0.0',
    '10.0.0.256',
    'fe80::1%eth0',
    '1::2::3',
    'localhost',
  ]) {
    t.throws(
      () => parseAddress(text),
      new TypeError(`"${text}" is not an IPv4 or IPv6 address`),
    )
  }
  t.throws(
    () => formatAddress(Buffer.alloc(4)),
    new TypeError('an address has 16 bytes, got 4'),
  )
})

t.test('an endpoint has brackets around IPv6 only', async (t) => {
  t.equal(formatEndpoint(parseAddress('10.0.0.1'), 80), '10.0.0.1:80')
  t.equal(formatEndpoint(parseAddress('fd00::1'), 80), '[fd00::1]:80')
  t.equal(isMappedIPv4(parseAddress('10.0.0.1')), true)
  t.equal(isMappedIPv4(parseAddress('::1')), false)
})

t.test('an address inside a larger buffer is read at its offset', async (t) => {
  const buffer = Buffer.concat([Buffer.alloc(3), parseAddress('fd00::7')])
  t.equal(formatAddress(buffer.subarray(3)), 'fd00::7')
})
