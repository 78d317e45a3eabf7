// SPDX-License-Identifier: Apache-2.0
// A body that one reader after the other, or several at a time, read from the beginning.
import { PassThrough, Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { RequestBody } from '../src/body.ts'
import type { ReplayRoom } from '../src/downstream/quota.ts'

/** Room that says how much is taken. */
function room(): ReplayRoom & { taken: number } {
  const room = {
    taken: 0,
    take: (bytes: number) => {
      room.taken += bytes
      return true
    },
    give: (bytes: number) => {
      room.taken -= bytes
    },
  }
  return room
}

const body = (source: Readable, max = 100, kept = room(), length?: number): RequestBody =>
  new RequestBody(source, length, max, kept, () => undefined)

t.test('several readers at a time, when all of it is there', async (t) => {
  const kept = room()
  const source = new PassThrough()
  const request = body(source, 100, kept)
  const first = request.open()
  request.gather()
  source.write('one ')
  source.end('two')
  await turn()
  t.equal(request.ended, true, 'though nobody reads')
  const second = request.open()
  t.strictSame(await Promise.all([text(first), text(second)]), ['one two', 'one two'])
  t.equal(await text(request.open()), 'one two', 'and once more')
  t.equal(kept.taken, 7)
  request.discard()
  t.equal(kept.taken, 0)
})

t.test('as long as it comes: one, the one before ends', async (t) => {
  const source = new PassThrough()
  const request = body(source)
  const first = request.open()
  source.write('a')
  await turn()
  const second = request.open()
  t.equal(first.destroyed, true)
  source.end('b')
  t.equal(await text(second), 'ab')
})

t.test('a reader that is ended with the exchange is not told an end', async (t) => {
  const request = body(Readable.from([Buffer.alloc(50), Buffer.alloc(50)]))
  request.gather()
  await turn()
  await turn()
  const slow = request.open()
  let ended = false
  slow.on('end', () => (ended = true))
  request.discard()
  slow.resume()
  await turn()
  t.equal(slow.destroyed, true)
  t.equal(ended, false, 'half a body must not look like a whole one')
})

t.test('gathering stops where keeping does, and nothing is lost', async (t) => {
  for (const opened of [false, true]) {
    const kept = room()
    const source = new PassThrough()
    const request = body(source, 10, kept)
    const early = opened ? request.open() : undefined
    request.gather()
    for (const part of ['12345', '67890', 'abcde', 'fg']) {
      source.write(part)
      await turn()
    }
    source.end('!')
    await turn()
    t.equal(request.replayable, !opened, 'a body that nobody opened is still whole')
    t.equal(request.ended, opened, `opened: ${opened}`)
    t.equal(await text(early ?? request.open()), '1234567890abcdefg!')
    t.equal(request.replayable, false)
    t.equal(request.bytes, 18)
    t.equal(kept.taken, 0)
  }
})

t.test('what does not fit may be the last of it', async (t) => {
  for (const source of [new PassThrough(), Readable.from([Buffer.alloc(11, 'x')])]) {
    const request = body(source, 10)
    request.gather()
    if (source instanceof PassThrough) source.end('x'.repeat(11))
    for (let i = 0; i < 5; i++) await turn()
    t.equal(request.ended, false)
    t.equal(await text(request.open()), 'x'.repeat(11))
    t.equal(request.ended, true)
  }
})

t.test(
  'whatever the chunks and the pace, every reader gets the same bytes',
  async (t) => {
    const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40_000 }), {
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(chunks, fc.nat(3), fc.boolean(), async (parts, readers, early) => {
        const whole = Buffer.concat(parts)
        const source = new PassThrough()
        const request = body(source, 1_000_000)
        const first = early ? request.open() : undefined
        request.gather()
        for (const part of parts) source.write(part)
        source.end()
        while (!request.ended) await turn()
        const rest = Array.from({ length: readers }, () => request.open())
        const got = await Promise.all(
          [...(first === undefined ? [] : [first]), ...rest].map(async (each) =>
            buffer(each),
          ),
        )
        return got.every((each) => each.equals(whole))
      }),
      { numRuns: 60 },
    )
  },
)
