// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from '../endpoint.ts'

/**
 * Chooses among ready endpoints for one attempt. `random` gives numbers in [0, 1). `avoid` are endpoints that this request
 * has tried; one is chosen again only when no other is left. `hash` is of what the request is balanced by, 32 bits;
 * undefined: the request has none. A list is never changed, so what is derived from it can be kept by it.
 */
export type Balancer = (
  ready: readonly Endpoint[],
  random: () => number,
  avoid: readonly Endpoint[],
  hash?: number,
) => Endpoint | undefined

/** `ready` without those to avoid; `ready` itself when nothing would be left. */
export function withoutTried(
  ready: readonly Endpoint[],
  avoid: readonly Endpoint[],
): readonly Endpoint[] {
  if (avoid.length === 0) return ready
  const fresh = ready.filter((endpoint) => !avoid.includes(endpoint))
  return fresh.length > 0 ? fresh : ready
}
