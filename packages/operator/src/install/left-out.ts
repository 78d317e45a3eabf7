// SPDX-License-Identifier: Apache-2.0
// Takes the datapath from nodes that the Mesh does not select any more: what leaving.ts plans, done.
import type { Logger } from 'pino'
import type { ServerObject } from '../watch/reflector.ts'
import type { NodePod } from './decide.ts'
import type { InstallApi } from './install-api.ts'
import {
  decodeNames,
  encodeNames,
  planLeaving,
  type Cleaner,
  type LeavingPlan,
} from './leaving.ts'
import { carriersAnnotation } from './names.ts'
import { isSelected, type NodeFacts } from './nodes.ts'
import {
  annotationsOf,
  cleanerPod,
  cleanerRevision,
  type InstallOptions,
  type Manifest,
  type MeshInstall,
} from './objects.ts'
import { cleanerOf, isCleaner } from './pods.ts'

export interface LeftOutOptions extends Omit<InstallOptions, 'isRemoval'> {
  /** Nodes that exist; undefined: not known yet, so nobody is taken to be left out. */
  readonly nodes: () => NodeFacts | undefined
  readonly log: Logger
}

export class LeftOut {
  readonly #api: InstallApi
  readonly #options: LeftOutOptions
  readonly #maxRestarts: number
  /** As written last, which the watch shows a moment later; undefined: what it shows. */
  #carriers: readonly string[] | undefined

  constructor(api: InstallApi, options: LeftOutOptions, maxRestarts: number) {
    this.#api = api
    this.#options = options
    this.#maxRestarts = maxRestarts
  }

  /** One step. Returns the nodes that are not clean yet, in words. `objects` are the pods of the installation. */
  async clean(
    spec: MeshInstall,
    daemonSet: ServerObject | Manifest,
    pods: readonly NodePod[],
    objects: readonly ServerObject[],
  ): Promise<LeavingPlan['left']> {
    const facts = this.#options.nodes()
    if (facts === undefined) return []
    const shown = decodeNames(annotationsOf(daemonSet)[carriersAnnotation])
    const plan = planLeaving({
      carriers: this.#carriers ?? shown,
      running: new Set(pods.map(({ node }) => node).filter((node) => node !== '')),
      cleaners: this.#cleaners(objects),
      revision: cleanerRevision(spec, this.#options),
      isSelected: (node) => {
        const fact = facts.get(node)
        return fact && isSelected(fact, spec.nodeSelector)
      },
    })
    // First what is known, then what is done: an operator that ends between leaves nothing that the next would not find.
    this.#carriers = plan.carriers
    if (plan.carriers.join() !== shown.join())
      await this.#api.annotate({ [carriersAnnotation]: encodeNames(plan.carriers) })
    for (const cleaner of plan.remove) await this.#api.deletePod(cleaner)
    for (const node of plan.create) {
      this.#options.log.info({ node }, 'left out: taking its datapath away')
      await this.#api.createPod(cleanerPod(spec, this.#options, node))
    }
    return plan.left
  }

  /** Ends every cleaner: the DaemonSet's pods clean all nodes now. */
  async end(objects: readonly ServerObject[]): Promise<void> {
    this.#carriers = undefined
    for (const cleaner of this.#cleaners(objects))
      if (cleaner.state !== 'leaving') await this.#api.deletePod(cleaner)
  }

  #cleaners(objects: readonly ServerObject[]): Cleaner[] {
    return objects.filter(isCleaner).map((object) => cleanerOf(object, this.#maxRestarts))
  }
}
