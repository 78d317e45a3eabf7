// SPDX-License-Identifier: Apache-2.0
// Addresses of Services: dual stack, stable for the life of the object.
import { isIPv6 } from 'node:net'
import { LabError } from '../errors.ts'
import { nameOf, type ServiceObject } from '../types.ts'

/** 10.96.0.0/24 and fd00:10:96::/120 are left to Services that name their address, as Kubernetes' static range is. */
const firstDynamic = 256
const lastDynamic = 65_534

export class ClusterIPs {
  readonly #owners = new Map<string, string>()
  readonly #byService = new Map<string, string[]>()
  #next = firstDynamic

  /** The Service with spec.clusterIP and spec.clusterIPs filled in. Throws a LabError when a given address is taken. */
  assign(service: ServiceObject): ServiceObject {
    const { spec } = service
    if (spec.clusterIP === 'None')
      return { ...service, spec: { ...spec, clusterIPs: ['None'] } }
    if (spec.type === 'ExternalName') return service
    const name = nameOf(service)
    const given = (spec.clusterIPs ?? [spec.clusterIP]).filter(
      (ip) => ip !== undefined && ip !== '',
    )
    const before = this.#byService.get(name) ?? []
    this.release(name)
    const families = wantedFamilies(service)
    const addresses = families.map((family) => {
      const mine = (ip: string | undefined): ip is string =>
        ip !== undefined && isIPv6(ip) === (family === 'IPv6')
      const address = given.find(mine) ?? before.find(mine) ?? this.#free(family)
      const owner = this.#owners.get(address)
      if (owner !== undefined) {
        throw new LabError(
          'invalid',
          `Service ${name}: spec.clusterIP: ${address} belongs to ${owner}`,
        )
      }
      this.#owners.set(address, name)
      return address
    })
    this.#byService.set(name, addresses)
    return {
      ...service,
      spec: {
        ...spec,
        clusterIP: addresses[0] ?? 'None',
        clusterIPs: addresses,
        ipFamilies: families,
        ipFamilyPolicy: spec.ipFamilyPolicy ?? 'PreferDualStack',
      },
    }
  }

  /** Frees the addresses of a deleted Service ("namespace/name"). */
  release(name: string): void {
    for (const address of this.#byService.get(name) ?? []) this.#owners.delete(address)
    this.#byService.delete(name)
  }

  #free(family: string): string {
    for (let tried = firstDynamic; tried <= lastDynamic; tried++) {
      const n = this.#next
      this.#next = n === lastDynamic ? firstDynamic : n + 1
      const address =
        family === 'IPv6' ? `fd00:10:96::${n.toString(16)}` : `10.96.${n >> 8}.${n & 255}`
      if (!this.#owners.has(address)) return address
    }
    throw new LabError('host', 'no cluster address is left')
  }
}

function wantedFamilies(service: ServiceObject): string[] {
  const { ipFamilies, ipFamilyPolicy } = service.spec
  const first = ipFamilies?.[0] ?? 'IPv4'
  if (ipFamilyPolicy === 'SingleStack') return [first]
  return first === 'IPv6' ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6']
}
