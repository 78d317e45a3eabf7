// SPDX-License-Identifier: Apache-2.0
// Both ends must come to the same digests, whatever made their values; another content must never have the same.
import t from 'tap'
import {
  applyDelta,
  bucketCount,
  bucketDigest,
  bucketOf,
  Delta,
  digestOf,
  emptyResources,
  isReadable,
  readSummary,
  Resource,
  summarize,
  Summary,
} from '../src/index.ts'

const identity = (labels: Record<string, string>, id = 300): Resource => ({
  name: String(id),
  body: {
    $case: 'identity',
    value: { id, namespace: 'shop', serviceAccount: 'default', labels },
  },
})
const rule = (name: string, text: string): Resource => ({
  name,
  body: { $case: 'rule', value: { id: 1, text } },
})

t.test('buckets and digests are the same in every version: nodes compare', async (t) => {
  // Made with zlib.crc32 and hashlib of Python.
  t.equal(bucketOf('shop/web:80/TCP|10.244.1.2:8080'), 380)
  const hex = (digest: string) => Buffer.from(digest, 'latin1').toString('hex')
  t.equal(hex(digestOf(rule('1', 'text'))), '1daaef7f41163adbfd9e889f0bc9de26')
  t.equal(hex(bucketDigest(['b', 'a'])), hex(bucketDigest(['a', 'b'])))
})

t.test('a digest survives the wire, and the order of labels', async (t) => {
  const one = identity({ b: '2', a: '1', 10: 'x', 9: 'y' })
  const wire = Resource.decode(Resource.encode(one).finish())
  t.equal(digestOf(wire), digestOf(one))
  t.equal(digestOf(identity({ 9: 'y', a: '1', b: '2', 10: 'x' })), digestOf(one))
})

t.test('name, kind and content each make another digest', async (t) => {
  const { value } = rule('1', 'text').body as { value: { id: number; text: string } }
  const digests = [
    rule('1', 'text'),
    rule('2', 'text'),
    rule('1', 'other'),
    identity({ a: '1' }),
    identity({ a: '1' }, 301),
    identity({ a: '2' }),
    identity({}),
    // One value under two names.
    { name: 'x', body: { $case: 'rule', value } } as const,
    { name: 'y', body: { $case: 'rule', value } } as const,
  ].map(digestOf)
  t.equal(new Set(digests).size, digests.length)
})

t.test('a summary says what is held, in any order, and survives the wire', async (t) => {
  const upserts = Array.from({ length: 3000 }, (_, n) => rule(`r${n}`, `text ${n}`))
  const held = (some: Resource[]) =>
    applyDelta(emptyResources(), Delta.fromPartial({ upserts: some })).resources
  const summary = summarize(held(upserts))
  const wire = Summary.decode(Summary.encode(summary).finish())
  t.ok(isReadable(wire))
  const read = readSummary(wire)
  t.same([...read.keys()], ['rule'], 'kinds of which nothing is held are left out')
  const sorted = (map = new Map<number, string>() as ReadonlyMap<number, string>) =>
    [...map].sort(([a], [b]) => a - b)
  const again = readSummary(summarize(held(upserts.reverse())))
  t.same(sorted(read.get('rule')), sorted(again.get('rule')))
  t.ok(sorted(read.get('rule')).length > bucketCount * 0.9)
  const bytes = Summary.encode(summary).finish().length
  t.ok(bytes < bucketCount * 18.2, `${bytes} bytes`)
})

t.test('what was not counted as here, or is damaged, is not read', async (t) => {
  const summary = summarize(
    applyDelta(emptyResources(), Delta.fromPartial({ upserts: [rule('1', 'a')] }))
      .resources,
  )
  t.ok(isReadable(summary))
  t.notOk(isReadable({ ...summary, buckets: 2048 }))
  const [kind] = summary.kinds
  if (kind === undefined) throw new Error('nothing was summed up')
  const cut = { ...kind, digests: kind.digests.subarray(1) }
  t.notOk(isReadable({ ...summary, kinds: [cut] }))
})
