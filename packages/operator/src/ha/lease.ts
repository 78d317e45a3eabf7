// SPDX-License-Identifier: Apache-2.0
// PURE: who may lead, by a Lease of coordination.k8s.io/v1. The rule is that of client-go: a holder is believed for as long as
// its lease says after we saw the lease change last, by our own clock; the times inside of the lease are for people.

/** What matters of a Lease. */
export interface LeaseRecord {
  /** '' when it was given up. */
  readonly holder: string
  readonly durationMs: number
  readonly transitions: number
  readonly acquireTime: string
  /** Changes with each renewal; never compared as a time. */
  readonly renewTime: string
  readonly resourceVersion: string
}

/** A lease with the time, by a monotonic clock, at which it was first seen as it is. */
export interface Observation {
  readonly record: LeaseRecord | undefined
  readonly sinceMs: number
}

/** The observation after the lease was read as `record` at `nowMs`. */
export function observe(
  before: Observation | undefined,
  record: LeaseRecord | undefined,
  nowMs: number,
): Observation {
  const known = before?.record
  const same =
    before !== undefined &&
    known?.holder === record?.holder &&
    known?.renewTime === record?.renewTime
  return { record, sinceMs: same ? before.sinceMs : nowMs }
}

/** What a candidate should do: write itself into the lease (anew, or again), or wait. */
export type Decision = 'create' | 'take' | 'renew' | 'wait'

export function decide(
  { record, sinceMs }: Observation,
  me: string,
  nowMs: number,
): Decision {
  if (record === undefined) return 'create'
  if (record.holder === me) return 'renew'
  if (record.holder === '') return 'take'
  return nowMs - sinceMs > record.durationMs ? 'take' : 'wait'
}

/** spec of the Lease that `decision` writes; `now` is RFC 3339 with microseconds. */
export function specOf(
  decision: Exclude<Decision, 'wait'>,
  record: LeaseRecord | undefined,
  me: string,
  durationMs: number,
  now: string,
): Record<string, unknown> {
  const isNew = decision !== 'renew'
  return {
    holderIdentity: me,
    leaseDurationSeconds: Math.ceil(durationMs / 1000),
    acquireTime: isNew ? now : record?.acquireTime || now,
    renewTime: now,
    leaseTransitions: (record?.transitions ?? 0) + Number(decision === 'take'),
  }
}

/** A Lease as the server shows it. */
export interface LeaseObject {
  readonly metadata: { readonly resourceVersion?: string }
  readonly spec?: {
    readonly holderIdentity?: string | null
    readonly leaseDurationSeconds?: number | null
    readonly leaseTransitions?: number | null
    readonly acquireTime?: string | null
    readonly renewTime?: string | null
  }
}

export function recordOf({ metadata, spec }: LeaseObject): LeaseRecord {
  return {
    holder: spec?.holderIdentity ?? '',
    durationMs: (spec?.leaseDurationSeconds ?? 0) * 1000,
    transitions: spec?.leaseTransitions ?? 0,
    acquireTime: spec?.acquireTime ?? '',
    renewTime: spec?.renewTime ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
  }
}
