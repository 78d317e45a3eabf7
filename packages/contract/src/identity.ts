// SPDX-License-Identifier: Apache-2.0

/** Identities that are not label sets; the same numbers as `enum reserved_identity` in bpf/include/pillion/types.h. */
export const ReservedIdentity = {
  /** In a rule: any peer. On a connection: not decided. */
  any: 0,
  /** Outside of the cluster. */
  world: 1,
  /** A process of this node that is in no pod. */
  host: 2,
  /** Another node's own address. */
  remoteNode: 3,
  /** A pod that the operator has not numbered yet. */
  unmanaged: 4,
  kubeApiserver: 5,
} as const

/** The first number that the operator gives to a label set. */
export const firstIdentity = 256

/** Name of a reserved identity, or undefined. */
export function reservedName(identity: number): string | undefined {
  return Object.entries(ReservedIdentity).find(([, id]) => id === identity)?.[0]
}

/**
 * Identities of addresses that a policy names by ipBlock; the same bits as in bpf/include/pillion/types.h. `cidr`: outside of
 * the cluster. `node`: a node's own address.
 */
export const identityBit = { cidr: 0x2000_0000, node: 0x4000_0000 } as const

/** Numbers of label sets, and what is below the bits of the others, end here. */
export const identityEnd = 0x2000_0000

/**
 * Added to the number of a label set: the same callers, by way of a proxy that judges their requests (L7Policy). Rules for
 * requests allow only this number in the kernel, so a caller that goes around the proxy is refused there. The kernel does
 * not know the bit: to it this is one more identity.
 */
export const judgedBit = 0x8000_0000

/** The number of the label set, whichever way it came. */
export function withoutJudged(identity: number): number {
  return identity >= judgedBit ? identity - judgedBit : identity
}
