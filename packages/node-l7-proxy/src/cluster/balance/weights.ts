// SPDX-License-Identifier: Apache-2.0
// Whether weights have to be looked at. Mostly not, and then no choice scans its endpoints.
import type { Endpoint } from '../endpoint.ts'

const known = new WeakMap<readonly Endpoint[], boolean>()

/** True when all weights are equal. Remembered by the list: a changed weight comes with a new one. */
export function isUniform(endpoints: readonly Endpoint[]): boolean {
  let uniform = known.get(endpoints)
  if (uniform === undefined) {
    uniform = endpoints.every(({ weight }) => weight === endpoints[0]?.weight)
    known.set(endpoints, uniform)
  }
  return uniform
}
