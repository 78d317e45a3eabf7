// SPDX-License-Identifier: Apache-2.0

/** What a node knows by itself. */
export interface PlanContext {
  /** Name of this node. */
  readonly node: string
  /** Cgroups of local pods, by pod uid. */
  readonly cgroups: ReadonlyMap<string, { readonly id: bigint }>
  readonly nodeCgroupId: bigint
  /** Cgroups of all pods: one, or none yet, or one more that a kubelet with another driver left behind. */
  readonly kubepodsCgroupIds: readonly bigint[]
  readonly proxyCgroupId: bigint | undefined
}
