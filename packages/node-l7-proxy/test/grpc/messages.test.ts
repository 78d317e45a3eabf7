// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check'
import t from 'tap'
import { MessageCounter } from '../../src/grpc/messages.ts'

function message(length: number): Buffer {
  const bytes = Buffer.alloc(5 + length, 0xff)
  bytes.writeUInt8(0, 0)
  bytes.writeUInt32BE(length, 1)
  return bytes
}

t.test('every message once, however the bytes are cut', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(0, 1, 255, 256), fc.nat(70_000))),
      fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1 }),
      (lengths, cuts) => {
        const bytes = Buffer.concat(lengths.map(message))
        const counter = new MessageCounter()
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const next = at + (cuts[i % cuts.length] ?? 1)
          counter.data(bytes.subarray(at, next))
          at = next
        }
        return counter.count === lengths.length
      },
    ),
  )
})

t.test('what is not complete counts from its prefix on', async (t) => {
  const counter = new MessageCounter()
  counter.data(message(100).subarray(0, 4))
  t.equal(counter.count, 0)
  counter.data(message(100).subarray(4, 20))
  t.equal(counter.count, 1)
})

t.test('a length of four bytes is not negative', async (t) => {
  const counter = new MessageCounter()
  counter.data(Buffer.from([0, 0xff, 0xff, 0xff]))
  counter.data(Buffer.from([0xff, ...message(0)]))
  t.equal(counter.count, 1, 'the second is inside the first')
})
