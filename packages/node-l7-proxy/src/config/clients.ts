// SPDX-License-Identifier: Apache-2.0
import {
  formatAddress,
  type Identity,
  type Resources,
  type Workload,
} from '@pillion/contract'
import { orUnknown, principal, type SourceLabels } from '../metrics/labels.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Origin } from '../origin.ts'

/** Who is behind a downstream connection: namespace for consumer routes, labels for telemetry. */
export type Client = {
  readonly identity: number
  readonly namespace: string
  /** '': unknown. */
  readonly serviceAccount: string
  /** "10.244.1.2". */
  readonly address: string
  readonly labels: SourceLabels
}

/** Finds clients by what the kernel says of their connection; one object a workload. */
export class ClientDirectory {
  readonly #workloads: ReadonlyMap<string, Workload>
  readonly #identities: ReadonlyMap<string, Identity>
  readonly #known: Map<string, Client> = new Map()
  readonly #metrics: Metrics

  constructor(resources: Resources, metrics: Metrics) {
    this.#metrics = metrics
    const workloads = new Map<string, Workload>()
    for (const workload of resources.workload.values()) {
      // A pod on the node's network shares its address with others: it does not say who.
      if (workload.hostNetwork) continue
      for (const address of workload.addresses)
        workloads.set(Buffer.from(address).toString('latin1'), workload)
    }
    this.#workloads = workloads
    this.#identities = resources.identity
  }

  /** The client of a connection. The identity is the kernel's word; the address only adds names for telemetry. */
  of(origin: Origin): Client {
    const address = origin.source.toString('latin1')
    const key = `${origin.identity}|${address}`
    let client = this.#known.get(key)
    if (client === undefined) {
      const found = this.#workloads.get(address)
      const workload = found?.identity === origin.identity ? found : undefined
      client = this.#make(origin, workload)
      // Addresses of pods only: strangers must not make this map grow.
      if (workload !== undefined) this.#known.set(key, client)
    }
    return client
  }

  #make(origin: Origin, workload: Workload | undefined): Client {
    const id = origin.identity
    const identity = this.#identities.get(String(id))
    const namespace = identity?.namespace ?? workload?.namespace ?? ''
    const account = identity?.serviceAccount ?? workload?.serviceAccount ?? ''
    return {
      identity: id,
      address: formatAddress(origin.source),
      namespace,
      serviceAccount: account,
      labels: this.#metrics.source({
        workload: orUnknown(workload?.workload),
        namespace: orUnknown(namespace),
        principal: principal(namespace, account),
        app: orUnknown(workload?.app ?? identity?.labels['app']),
        version: orUnknown(workload?.version ?? identity?.labels['version']),
      }),
    }
  }
}
