// SPDX-License-Identifier: Apache-2.0

/** A condition as compile finds it; times and generations are status' business. Reasons as the Gateway API names them. */
export interface Condition {
  readonly type:
    | 'Accepted'
    | 'ResolvedRefs'
    | 'PartiallyInvalid'
    | 'Programmed'
    /** Of the Mesh: its nodes' processes are connected and hold what is published. */
    | 'NodesReady'
    /** Of the Mesh: something that is wanted does not work on some nodes. */
    | 'Degraded'
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

/** True for a condition whose status says that something is wrong. */
export function isBad({ type, status }: Pick<Condition, 'type' | 'status'>): boolean {
  return (type === 'PartiallyInvalid' || type === 'Degraded') === (status === 'True')
}

/** Conditions by object key. */
export type Conditions = ReadonlyMap<string, readonly Condition[]>

export const accepted: Condition = {
  type: 'Accepted',
  status: 'True',
  reason: 'Accepted',
  message: 'valid; Programmed says on how many nodes it is in force',
}

export function refused(reason: string, message: string): Condition {
  return { type: 'Accepted', status: 'False', reason, message }
}
