// SPDX-License-Identifier: Apache-2.0
// Node ports of Services, as an API server gives them out: stable for the life of the object.
import { LabError } from '../errors.ts'
import { nameOf, type ServiceObject } from '../types.ts'

/** Kubernetes' default --service-node-port-range. */
const firstPort = 30_000
const lastPort = 32_767

export class NodePorts {
  /** Services by port number: of one Service, TCP and UDP may share a number. */
  readonly #owners = new Map<number, string>()
  /** By Service, then by "port/protocol" of the Service. */
  readonly #byService = new Map<string, ReadonlyMap<string, number>>()
  #next = firstPort

  /**
   * The Service with a node port at each port that wants one. Throws a LabError when a given one is taken or out of range;
   * then it keeps what it had.
   */
  assign(service: ServiceObject): ServiceObject {
    const name = nameOf(service)
    const before = this.#byService.get(name)
    const mine = new Map<string, number>()
    const given = wantsNodePorts(service) ? (service.spec.ports ?? []) : []
    const ports = given.map((port, i) => {
      const key = `${port.port}/${port.protocol ?? 'TCP'}`
      const number = port.nodePort || (before?.get(key) ?? this.#free())
      this.#check(number, name, `spec.ports[${i}].nodePort`)
      mine.set(key, number)
      return { ...port, nodePort: number }
    })
    this.release(name)
    if (ports.length === 0) return service
    this.#byService.set(name, mine)
    for (const number of mine.values()) this.#owners.set(number, name)
    return { ...service, spec: { ...service.spec, ports } }
  }

  /** Frees the ports of a Service ("namespace/name"). */
  release(name: string): void {
    for (const number of this.#byService.get(name)?.values() ?? [])
      this.#owners.delete(number)
    this.#byService.delete(name)
  }

  #check(number: number, name: string, field: string): void {
    const owner = this.#owners.get(number)
    const isTaken = owner !== undefined && owner !== name
    if (!isTaken && number >= firstPort && number <= lastPort) return
    const what = isTaken
      ? `belongs to ${owner}`
      : `is not from ${firstPort} to ${lastPort}`
    throw new LabError('invalid', `Service ${name}: ${field}: ${number} ${what}`)
  }

  #free(): number {
    for (let tried = firstPort; tried <= lastPort; tried++) {
      const number = this.#next
      this.#next = number === lastPort ? firstPort : number + 1
      if (!this.#owners.has(number)) return number
    }
    throw new LabError('host', 'no node port is left')
  }
}

function wantsNodePorts({ spec }: ServiceObject): boolean {
  if (spec.type === 'LoadBalancer') return spec.allocateLoadBalancerNodePorts !== false
  return spec.type === 'NodePort'
}
