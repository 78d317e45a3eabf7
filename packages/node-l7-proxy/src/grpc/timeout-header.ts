// SPDX-License-Identifier: Apache-2.0

const unitMs = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000001 }

/** grpc-timeout ("100m": at most 8 digits and a unit) in milliseconds, at least 1; undefined when malformed. */
export function parseGrpcTimeout(text: string): number | undefined {
  const found = /^(\d{1,8})([HMSmun])$/.exec(text)
  if (found === null) return undefined
  const ms = Number(found[1]) * unitMs[found[2] as keyof typeof unitMs]
  return Math.max(1, Math.ceil(ms))
}

/** Milliseconds as a grpc-timeout, rounded up where eight digits do not suffice. */
export function formatGrpcTimeout(ms: number): string {
  return ms < 100_000_000 ? `${Math.max(0, Math.ceil(ms))}m` : `${Math.ceil(ms / 1000)}S`
}
