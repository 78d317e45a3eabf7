// SPDX-License-Identifier: Apache-2.0
// What somebody holds, in few bytes: both ends of the wire compute it alike, and what differs is what one of them lacks.
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Resource, type KindSummary, type Summary } from './gen/pillion/v1/node.ts'

/**
 * Into how many parts the names of a kind are divided. A kind with fewer resources is compared resource by resource; one of
 * 10 000 in parts of ten, in 18 kB.
 */
export const bucketCount = 1024

/** Of a digest. Nobody finds two contents with one digest by less than 2^64 attempts, and then only among his own. */
export const digestBytes = 16

/** The bucket of a resource's name. */
export function bucketOf(name: string): number {
  return crc32(name) % bucketCount
}

const digests = new WeakMap<object, { readonly name: string; readonly digest: string }>()

/** Digest of name, kind and content, as latin1 text; computed once for a value, which must not change any more. */
export function digestOf(resource: Resource): string {
  const value = resource.body?.value
  const known = value && digests.get(value)
  if (known?.name === resource.name) return known.digest
  const digest = short(Resource.encode(canonical(resource)).finish())
  if (value !== undefined) digests.set(value, { name: resource.name, digest })
  return digest
}

/** The only maps of the contract are labels, and a map has no order. */
function canonical(resource: Resource): Resource {
  const { name, body } = resource
  if (body?.$case !== 'identity') return resource
  const labels = Object.entries(body.value.labels).sort(([a], [b]) => (a < b ? -1 : 1))
  const value = { ...body.value, labels: Object.fromEntries(labels) }
  return { name, body: { $case: 'identity', value } }
}

/** Digest of a bucket, from those of its resources. */
export function bucketDigest(contents: Iterable<string>): string {
  return short(Buffer.from([...contents].sort().join(''), 'latin1'))
}

function short(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'binary').slice(0, digestBytes)
}

/** Summary of resources by kind and name. O(resources), a few µs for each that was never looked at. */
export function summarize(
  resources: Readonly<Record<string, ReadonlyMap<string, unknown>>>,
): Summary {
  const kinds: KindSummary[] = []
  for (const [kind, values] of Object.entries(resources)) {
    if (values.size > 0) kinds.push(summarizeKind(kind, values))
  }
  return { buckets: bucketCount, kinds }
}

function summarizeKind(kind: string, values: ReadonlyMap<string, unknown>): KindSummary {
  const members = new Map<number, string[]>()
  for (const [name, value] of values) {
    const digest = digestOf({ name, body: { $case: kind, value } as Resource['body'] })
    const bucket = bucketOf(name)
    const others = members.get(bucket)
    if (others === undefined) members.set(bucket, [digest])
    else others.push(digest)
  }
  const all = [...members.values()].map(bucketDigest).join('')
  return { kind, buckets: [...members.keys()], digests: Buffer.from(all, 'latin1') }
}

/** Whether a summary can be read; false: it counts buckets in another way, or is damaged. */
export function isReadable({ buckets, kinds }: Summary): boolean {
  const isWhole = (kind: KindSummary): boolean =>
    kind.digests.length === kind.buckets.length * digestBytes
  return buckets === bucketCount && kinds.every(isWhole)
}

/** Digests of the buckets of a summary, by kind. */
export function readSummary({
  kinds,
}: Summary): ReadonlyMap<string, ReadonlyMap<number, string>> {
  const read = new Map<string, ReadonlyMap<number, string>>()
  for (const { kind, buckets, digests: bytes } of kinds) {
    const text = Buffer.from(bytes).toString('latin1')
    const at = (i: number): string => text.slice(i * digestBytes, (i + 1) * digestBytes)
    read.set(kind, new Map(buckets.map((bucket, i) => [bucket, at(i)])))
  }
  return read
}
