// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from './endpoint.ts'

/**
 * Chooses among ready endpoints for one attempt. `random` gives numbers in [0, 1). `avoid` are endpoints that this request
 * has tried; one is chosen again only when no other is left.
 */
export type Balancer = (
  ready: readonly Endpoint[],
  random: () => number,
  avoid: readonly Endpoint[],
) => Endpoint | undefined
