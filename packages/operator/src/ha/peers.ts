// SPDX-License-Identifier: Apache-2.0
// PURE: what a replica that does not lead tells the one that does, so that "k of n nodes" counts the nodes of all.
//
// Versions of one replica mean nothing in another. What both know are objects and their generations: a report names those that
// the replica has published, and who of its subscribers does not hold which of them yet.
import { gunzipSync, gzipSync } from 'node:zlib'
import type { SubscriberStatus } from '../publish/publisher.ts'

/** What is published at one replica. */
export interface Published {
  readonly version: number
  /** Version in which each object's present content was first published, by key. */
  readonly publishedIn: ReadonlyMap<string, number>
  /** What of an object has been published, as a text that is the same in every replica. */
  contentOf(key: string): string
}

export interface PeerReport {
  /** Without what changes with every version: a report is written when it says something else. */
  readonly places: readonly Omit<SubscriberStatus, 'ackedVersion' | 'current'>[]
  readonly contents: Readonly<Record<string, string>>
  /** Keys of objects with the places, by their index, that do not hold them. */
  readonly missing: Readonly<Record<string, readonly number[]>>
}

/** The report on `subscribers`, for the objects of which status is written (`keys`). */
export function reportOf(
  subscribers: readonly SubscriberStatus[],
  { publishedIn, contentOf }: Published,
  keys: Iterable<string>,
): PeerReport {
  const missing: Record<string, number[]> = {}
  const contents: Record<string, string> = {}
  for (const key of keys) {
    const version = publishedIn.get(key)
    if (version === undefined) continue
    contents[key] = contentOf(key)
    const without = subscribers.flatMap(({ ackedVersion }, i) =>
      ackedVersion >= version ? [] : [i],
    )
    if (without.length > 0) missing[key] = without
  }
  const places = subscribers.map(
    ({ ackedVersion: _acked, current: _current, nack, ...place }) => ({
      ...place,
      nack: nack && { version: 0, reason: nack.reason },
    }),
  )
  return { places, contents, missing }
}

/**
 * The subscribers of a report, with `ackedVersion` in our numbers: just below the first object that they do not hold as we
 * know it. What was published after that counts as missing too, until the report says better.
 */
export function translate(
  { places, contents, missing }: PeerReport,
  ours: Published,
  keys: Iterable<string>,
): SubscriberStatus[] {
  const acked = places.map(() => ours.version)
  const lower = (i: number, version: number): void => {
    acked[i] = Math.min(acked[i] ?? 0, version - 1)
  }
  for (const key of keys) {
    const version = ours.publishedIn.get(key)
    if (version === undefined) continue
    if (contents[key] !== ours.contentOf(key))
      for (const i of places.keys()) lower(i, version)
    else for (const i of missing[key] ?? []) lower(i, version)
  }
  return places.map((place, i) => {
    const ackedVersion = acked[i] ?? 0
    // A refusal is of what is missing there.
    const nack = place.nack && { ...place.nack, version: ackedVersion + 1 }
    return { ...place, ackedVersion, nack, current: ackedVersion === ours.version }
  })
}

/** Everybody's subscribers once: who is connected to one replica and was to another is at the first. */
export function merge(
  ours: readonly SubscriberStatus[],
  theirs: readonly (readonly SubscriberStatus[])[],
): SubscriberStatus[] {
  const out = new Map<string, SubscriberStatus>()
  for (const subscriber of [ours, ...theirs].flat()) {
    const key = `${subscriber.node} ${subscriber.role}`
    const known = out.get(key)
    if (known === undefined || (!known.connected && subscriber.connected))
      out.set(key, subscriber)
  }
  return [...out.values()].sort((a, b) => (a.node + a.role < b.node + b.role ? -1 : 1))
}

/** Text of a report for a ConfigMap: names repeat, so a tenth of its size. */
export function encode(report: PeerReport): string {
  return gzipSync(JSON.stringify(report)).toString('base64')
}

/** undefined: not a report. */
export function decode(text: string): PeerReport | undefined {
  try {
    const json = gunzipSync(Buffer.from(text, 'base64'), {
      maxOutputLength: maxReportBytes,
    }).toString()
    return JSON.parse(json) as PeerReport
  } catch {
    return undefined
  }
}

/** Largest report that is read, unpacked. */
const maxReportBytes = 32 * 1024 * 1024
