// SPDX-License-Identifier: Apache-2.0
// Keeps Pod objects, EndpointSlices and the DNS zone in step with the pods.
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { buildZone } from '../dns/zone.ts'
import { endpointSlices } from '../object/endpoints.ts'
import { writeAtomic } from '../object/store.ts'
import { paths } from '../paths.ts'
import type { PodRunner } from '../pod/runner.ts'
import type { ObjectSource } from '../source/source.ts'

const zoneLabel = 'topology.kubernetes.io/zone'

export class EndpointsController {
  readonly #source: ObjectSource
  #zone = ''

  constructor(source: ObjectSource) {
    this.#source = source
    for (const dir of [dirname(paths.dnsRecords), paths.temporary])
      mkdirSync(dir, { recursive: true })
    this.#writeZone('{}')
  }

  /** Computes everything anew and publishes it. */
  refresh(runners: Iterable<PodRunner>): void {
    const all = [...runners]
    const zones = new Map(
      this.#source
        .list('Node')
        .map(({ metadata: { name, labels } }) => [name, labels?.[zoneLabel]]),
    )
    const views = all
      .filter((runner) => !runner.done)
      .map((runner) => {
        const view = runner.view()
        const zone = zones.get(view.node)
        return zone === undefined ? view : { ...view, zone }
      })
    const { services } = this.#source
    this.#source.publish([
      ...all.map((runner) => runner.object()),
      ...services.flatMap((service) => endpointSlices(service, views)),
    ])
    const zone = buildZone(services, this.#source.list('EndpointSlice'))
    this.#writeZone(JSON.stringify(zone))
  }

  #writeZone(text: string): void {
    if (text === this.#zone) return
    this.#zone = text
    writeAtomic(paths.dnsRecords, text, paths.temporary)
  }
}
