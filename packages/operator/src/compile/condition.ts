// SPDX-License-Identifier: Apache-2.0

/** A condition as compile finds it; times and generations are status' business. Reasons as the Gateway API names them. */
export interface Condition {
  readonly type: 'Accepted' | 'ResolvedRefs' | 'PartiallyInvalid' | 'Programmed'
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

/** Conditions by object key. */
export type Conditions = ReadonlyMap<string, readonly Condition[]>

export const accepted: Condition = {
  type: 'Accepted',
  status: 'True',
  reason: 'Accepted',
  message: 'in force',
}

export function refused(reason: string, message: string): Condition {
  return { type: 'Accepted', status: 'False', reason, message }
}
