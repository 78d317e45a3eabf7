// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { Lines } from '../src/lines.ts'

t.test('lines and characters may be cut anywhere', async (t) => {
  const bytes = Buffer.from('200\n{"a":"é"}\n\n{"b":2}\nrest')
  for (let size = 1; size <= bytes.length; size++) {
    const found: string[] = []
    const lines = new Lines((line) => found.push(line))
    for (let at = 0; at < bytes.length; at += size)
      lines.take(bytes.subarray(at, at + size))
    t.same(found, ['200', '{"a":"é"}', '{"b":2}'], `${size} bytes at a time`)
  }
})

t.test('a line without end is bounded', async (t) => {
  const found: string[] = []
  const lines = new Lines((line) => found.push(line))
  for (let i = 0; i < 40; i++) lines.take(Buffer.alloc(64 * 1024, 'x'))
  lines.take(Buffer.from('\nnext\n'))
  t.equal(found[0]?.length, 1024 * 1024)
  t.equal(found[1], 'next')
})
