// SPDX-License-Identifier: Apache-2.0
// The operator's end of a summary: where somebody who holds what the summary says differs from a view.
import {
  bucketDigest,
  bucketOf,
  digestOf,
  kinds,
  readSummary,
  type KindBuckets,
  type Kind,
  type Resource,
  type Resources,
  type Summary,
} from '@pillion/contract'
import { changedNames, resource } from './diff.ts'

/** What a holder lacks: buckets, and all that is in them. */
export interface Missing {
  readonly replaced: KindBuckets[]
  /** Resources in these buckets. */
  readonly size: number
  /** What is referred to comes first. */
  upserts(): Resource[]
}

const nothing: ReadonlyMap<number, string> = new Map()

/**
 * The buckets of one role's views. It goes from view to view by what they differ in, so that a node costs its own addresses
 * and pods, and a change what is in its bucket. Empty until the first node asks.
 */
export class ViewBuckets {
  readonly #kinds = new Map<Kind, Buckets>()

  /** Where the holder of `summary` differs from `view`. The answer must be read before the next question. */
  missing(summary: Summary, view: Resources): Missing {
    const held = readSummary(summary)
    const replaced: KindBuckets[] = []
    let size = 0
    for (const kind of kinds) {
      const buckets = this.#follow(kind, view[kind])
      const differing = buckets.differing(held.get(kind) ?? nothing)
      if (differing.length === 0) continue
      replaced.push({ kind, buckets: differing })
      for (const bucket of differing) size += buckets.names(bucket).length
    }
    for (const [kind, buckets] of held) {
      // A kind that only a newer operator knows: gone.
      if (!(kind in view)) replaced.push({ kind, buckets: [...buckets.keys()] })
    }
    return { replaced, size, upserts: () => this.#upserts(replaced, view) }
  }

  #upserts(replaced: readonly KindBuckets[], view: Resources): Resource[] {
    const upserts: Resource[] = []
    for (const { kind, buckets } of replaced as { kind: Kind; buckets: number[] }[]) {
      const index = this.#kinds.get(kind)
      const names = buckets.flatMap((bucket) => index?.names(bucket) ?? [])
      upserts.push(...names.map((name) => resource(kind, name, view[kind].get(name))))
    }
    return upserts
  }

  #follow(kind: Kind, map: ReadonlyMap<string, unknown>): Buckets {
    let buckets = this.#kinds.get(kind)
    if (buckets === undefined) this.#kinds.set(kind, (buckets = new Buckets(kind)))
    buckets.follow(map)
    return buckets
  }
}

/** One kind's resources by bucket. */
class Buckets {
  readonly #kind: Kind
  readonly #members = new Map<number, Map<string, string>>()
  readonly #digests = new Map<number, string>()
  #map: ReadonlyMap<string, unknown> = new Map()

  constructor(kind: Kind) {
    this.#kind = kind
  }

  follow(map: ReadonlyMap<string, unknown>): void {
    const before = this.#map
    if (map === before) return
    const touched = new Set<number>()
    for (const name of changedNames(before, map)) {
      const value = map.get(name)
      if (value === before.get(name)) continue
      const bucket = bucketOf(name)
      this.#put(bucket, name, value)
      touched.add(bucket)
    }
    for (const bucket of touched) {
      const members = this.#members.get(bucket)
      if (members === undefined) this.#digests.delete(bucket)
      else this.#digests.set(bucket, bucketDigest(members.values()))
    }
    this.#map = map
  }

  differing(held: ReadonlyMap<number, string>): number[] {
    const differing: number[] = []
    for (const [bucket, digest] of this.#digests) {
      if (held.get(bucket) !== digest) differing.push(bucket)
    }
    for (const bucket of held.keys()) {
      if (!this.#digests.has(bucket)) differing.push(bucket)
    }
    return differing
  }

  names(bucket: number): string[] {
    return [...(this.#members.get(bucket)?.keys() ?? [])]
  }

  #put(bucket: number, name: string, value: unknown): void {
    let members = this.#members.get(bucket)
    if (value === undefined) {
      members?.delete(name)
      if (members?.size === 0) this.#members.delete(bucket)
      return
    }
    if (members === undefined) this.#members.set(bucket, (members = new Map()))
    members.set(name, digestOf(resource(this.#kind, name, value)))
  }
}
