// SPDX-License-Identifier: Apache-2.0

/** What a node knows by itself. */
export interface PlanContext {
  /** Name of this node. */
  readonly node: string
  /** Cgroups of local pods, by pod uid. */
  readonly cgroups: ReadonlyMap<string, { readonly id: bigint }>
  readonly nodeCgroupId: bigint
  /** The cgroup of all pods; undefined when there is none yet. */
  readonly kubepodsCgroupId: bigint | undefined
  readonly proxyCgroupId: bigint | undefined
}
