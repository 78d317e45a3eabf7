// SPDX-License-Identifier: Apache-2.0
// Keeps Pod objects, EndpointSlices and the DNS zone in step with the pods.
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { buildZone } from '../dns/zone.ts'
import { endpointSlices } from '../object/endpoints.ts'
import { writeAtomic, type ObjectStore } from '../object/store.ts'
import { paths } from '../paths.ts'
import type { PodRunner } from '../pod/runner.ts'
import { keyOf, type KubeObject, type ServiceObject } from '../types.ts'

export class EndpointsController {
  readonly #store: ObjectStore
  #generated: ReadonlyMap<string, KubeObject> = new Map()
  #zone = ''

  constructor(store: ObjectStore) {
    this.#store = store
    mkdirSync(dirname(paths.dnsRecords), { recursive: true })
    this.#writeZone('{}')
  }

  /** Computes everything anew and writes what changed. */
  refresh(services: readonly ServiceObject[], runners: Iterable<PodRunner>): void {
    const all = [...runners]
    const views = all.filter((runner) => !runner.done).map((runner) => runner.view())
    const generated = new Map(
      [
        ...all.map((runner) => runner.object()),
        ...services.flatMap((service) => endpointSlices(service, views)),
      ].map((object) => [keyOf(object), object]),
    )
    for (const [key, object] of this.#generated) {
      if (!generated.has(key)) this.#store.delete(object)
    }
    for (const object of generated.values()) this.#store.put(object)
    this.#generated = generated
    this.#writeZone(
      JSON.stringify(buildZone(services, this.#store.list('EndpointSlice'))),
    )
  }

  #writeZone(text: string): void {
    if (text === this.#zone) return
    this.#zone = text
    writeAtomic(paths.dnsRecords, text, paths.temporary)
  }
}
