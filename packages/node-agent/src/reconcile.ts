// SPDX-License-Identifier: Apache-2.0
// Resources + local pods -> plan -> kernel. What cannot be put in force is taken back, and the operator is told.
import { Acceleration, type Changes, type Resources } from '@pillion/contract'
import {
  adoptState,
  cgroupKey,
  plan,
  workloadLayout,
  type ApplyReport,
  type Datapath,
  type DatapathSettings,
  type PlanContext,
  type PlanState,
  type Tables,
} from '@pillion/ebpf-l4'
import { messageOf } from './errors.ts'
import type { PodCgroup } from './workloads.ts'

/** What the reconciler needs of a Datapath. */
export type Kernel = Pick<Datapath, 'apply' | 'setSettings' | 'tables'>

export interface ReconcilerOptions {
  readonly kernel: Kernel
  readonly context: () => PlanContext
  readonly proxy: Omit<DatapathSettings, 'acceleration'>
  /** Called after every successful apply. */
  readonly onApplied: (report: ApplyReport) => void
}

/** A pod whose identity is in the kernel. */
export interface AdmittedPod {
  readonly uid: string
  /** Name of the Workload resource. */
  readonly name: string
  readonly cgroup: PodCgroup
}

export class Reconciler {
  readonly #options: ReconcilerOptions
  #state: PlanState
  #acceleration: DatapathSettings['acceleration'] | undefined
  #applied = false

  /** Reads what the kernel holds, so that numbers go on from there. Changes nothing yet. */
  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#state = adoptState(options.kernel.tables())
  }

  /** True once a configuration of this process is in force. */
  get applied(): boolean {
    return this.#applied
  }

  /** In force; empty before the first. */
  get resources(): Resources {
    return this.#state.resources
  }

  /** What the maps should hold. */
  get tables(): Tables {
    return this.#state.tables
  }

  /**
   * Puts `resources` in force. `changes` are relative to `base`; when that is not what is in force, everything is
   * planned. Throws when the kernel refuses; what was in force then stays.
   */
  update(resources: Resources, base?: Resources, changes?: Changes): void {
    const usable = base === this.#state.resources ? changes : undefined
    this.#putInForce(resources, usable)
  }

  /** Local pods or cgroups changed. Does nothing before the first configuration. */
  refresh(): void {
    if (this.#applied) this.#putInForce(this.#state.resources, new Map())
  }

  /** Pods that connect under their own identity from now on. */
  admitted(): AdmittedPod[] {
    if (!this.#applied) return []
    const { cgroups } = this.#options.context()
    const { pl_cgroups } = this.#state.tables
    return [...this.resources.workload].flatMap(([name, { uid, identity }]) => {
      const cgroup = cgroups.get(uid)
      const value = cgroup && pl_cgroups.get(cgroupKey(cgroup.id))
      if (value === undefined || workloadLayout.read(value).identity !== identity)
        return []
      return [{ uid, name, cgroup: cgroup as PodCgroup }]
    })
  }

  #putInForce(resources: Resources, changes: Changes | undefined): void {
    const { kernel, context, onApplied } = this.#options
    const next = plan(resources, context(), this.#state, changes)
    this.#applySettings(resources)
    const report = this.#apply(kernel, next.tables)
    this.#state = next.state
    this.#applied = true
    onApplied(report)
  }

  #apply(kernel: Kernel, tables: Tables): ApplyReport {
    try {
      return kernel.apply(tables)
    } catch (error) {
      // Half of it may be in the maps. On the first time there is nothing better to go back to.
      if (this.#applied) this.#restore(kernel, error)
      throw error
    }
  }

  #restore(kernel: Kernel, cause: unknown): void {
    try {
      kernel.apply(this.#state.tables)
      this.#applySettings(this.#state.resources)
    } catch (error) {
      const text = `${messageOf(cause)}; nor could the last good state be restored: ${messageOf(error)}`
      throw new Error(text, { cause })
    }
  }

  #applySettings(resources: Resources): void {
    const acceleration = accelerationOf(resources)
    if (acceleration === this.#acceleration) return
    this.#options.kernel.setSettings({ ...this.#options.proxy, acceleration })
    this.#acceleration = acceleration
  }
}

/** The Mesh's acceleration; Auto when it does not say (design 4.5). */
export function accelerationOf(resources: Resources): DatapathSettings['acceleration'] {
  switch (resources.settings.get('mesh')?.acceleration) {
    case Acceleration.OFF:
      return 'off'
    case Acceleration.ON:
      return 'on'
    default:
      return 'auto'
  }
}
