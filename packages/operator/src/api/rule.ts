// SPDX-License-Identifier: Apache-2.0
// Rules over more than one field, said once for both judges: zod reads manifests, the API server evaluates CEL.
import type { z } from 'zod'

/** One rule, in both languages. */
export interface Rule<T> {
  /** CEL over `self`: the value as written, where what is absent is not empty but not there. */
  readonly cel: string
  /** The same over the value as zod has read it. */
  readonly holds: (value: T) => boolean
  /** What is wrong and what to do, without the path. */
  readonly message: string
  /** Field to blame, below the value; absent: the value itself. */
  readonly path?: readonly string[]
}

/** `schema` with `rules`: as refinements, and as the `x-kubernetes-validations` of its JSON schema. */
export function ruled<S extends z.ZodType>(
  schema: S,
  ...rules: readonly Rule<z.output<S>>[]
): S {
  let out = schema
  for (const { holds, message, path = [] } of rules) {
    out = out.refine(holds, { error: message, path: [...path] })
  }
  const validations = rules.map(({ cel, message, path }) => ({
    rule: cel,
    message,
    ...(path !== undefined && { fieldPath: `.${path.join('.')}` }),
  }))
  return out.meta({ 'x-kubernetes-validations': validations })
}
