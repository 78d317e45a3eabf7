// SPDX-License-Identifier: Apache-2.0
// The operator's own validation, so that `apply` refuses what the operator would refuse, before it is in force.
import { formatError, validateObjects, type RawObject } from '@pillion/operator'
import type { Loaded } from './load.ts'

/** "file: Kind namespace/name: field: what is wrong", one for each problem. */
export function validate(loaded: readonly Loaded[]): string[] {
  return loaded.flatMap(({ object, from }) =>
    validateObjects([object as unknown as RawObject], from).map((error) =>
      formatError(error),
    ),
  )
}
