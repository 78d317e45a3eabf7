// SPDX-License-Identifier: Apache-2.0
// The zone cluster.local as a value, and answers from it. Pure. Names are those of the Kubernetes DNS specification
// (https://github.com/kubernetes/dns/blob/master/docs/specification.md).
import type { KubeObject, ServiceObject } from '../types.ts'

export const zoneName = 'cluster.local'
/** Seconds; as CoreDNS' kubernetes plugin. */
export const ttlSeconds = 5

export interface SrvRecord {
  readonly port: number
  readonly target: string
}

/** Records by lower-case name without the final dot. */
export type Zone = Record<string, Records>

interface Records {
  A?: string[]
  AAAA?: string[]
  SRV?: SrvRecord[]
  /** Without the final dot; excludes the others. */
  CNAME?: string
}

/** As people write them: a manual slice may leave out what has a default. */
interface SliceObject extends KubeObject {
  ports?: { name?: string; port: number; protocol?: string }[] | null
  endpoints?:
    | {
        addresses: string[]
        hostname?: string
        conditions?: { ready?: boolean | null } | null
      }[]
    | null
}

/** The zone for these Services and EndpointSlices. */
export function buildZone(
  services: readonly ServiceObject[],
  slices: readonly KubeObject[],
): Zone {
  const zone: Zone = {}
  for (const service of services) {
    const { name, namespace = 'default' } = service.metadata
    const host = `${name}.${namespace}.svc.${zoneName}`.toLowerCase()
    zone[host] = {}
    if (service.spec.type === 'ExternalName') {
      zone[host].CNAME = (service.spec.externalName ?? '').replace(/\.$/, '')
    } else if (service.spec.clusterIP === 'None') {
      const mine = slices.filter(
        (slice) =>
          slice.metadata.namespace === namespace &&
          slice.metadata.labels?.['kubernetes.io/service-name'] === name,
      )
      addHeadless(zone, host, mine as SliceObject[])
    } else {
      for (const address of service.spec.clusterIPs ?? []) addAddress(zone, host, address)
      for (const { name: port, port: number, protocol } of service.spec.ports ?? []) {
        addSrv(zone, host, port, protocol, { port: number, target: host })
      }
    }
  }
  return zone
}

function addHeadless(zone: Zone, host: string, slices: readonly SliceObject[]): void {
  for (const { ports, endpoints } of slices) {
    for (const { addresses, hostname, conditions } of endpoints ?? []) {
      if (conditions?.ready === false) continue
      for (const address of addresses) {
        // A pod with hostname and subdomain (a StatefulSet's) has its own name; others are named after their address.
        const own = `${hostname ?? address.replaceAll(/[.:]+/g, '-')}.${host}`
        addAddress(zone, host, address)
        addAddress(zone, own, address)
        for (const { name, port, protocol } of ports ?? []) {
          addSrv(zone, host, name, protocol, { port, target: own })
        }
      }
    }
  }
}

function addAddress(zone: Zone, name: string, address: string): void {
  const type = address.includes(':') ? 'AAAA' : 'A'
  const records = (zone[name] ??= {})
  records[type] = [...(records[type] ?? []), address]
}

function addSrv(
  zone: Zone,
  host: string,
  port: string | undefined,
  protocol: string | undefined,
  record: SrvRecord,
): void {
  if (port === undefined || port === '') return
  const records = (zone[`_${port}._${(protocol ?? 'TCP').toLowerCase()}.${host}`] ??= {})
  // A pod with a name of its own has addresses of two families and one record.
  const known = records.SRV?.some(
    ({ port, target }) => port === record.port && target === record.target,
  )
  if (known !== true) records.SRV = [...(records.SRV ?? []), record]
}

export type RecordType = 'A' | 'AAAA' | 'SRV'

/** What the zone says about a question. */
export type Lookup =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'srv'; readonly records: readonly SrvRecord[] }
  /** The name stands for another one, which may be of this zone. */
  | { readonly kind: 'alias'; readonly target: string }
  /** The name exists, without records of this type. */
  | { readonly kind: 'no-data' }
  | { readonly kind: 'no-name' }

export function lookup(zone: Zone, name: string, type: string): Lookup {
  const key = name.toLowerCase().replace(/\.$/, '')
  const records = zone[key]
  if (records === undefined) {
    // A name that only has names below it exists (RFC 8020): NXDOMAIN would deny those too.
    const below =
      key === zoneName || Object.keys(zone).some((other) => other.endsWith(`.${key}`))
    return { kind: below ? 'no-data' : 'no-name' }
  }
  if (records.CNAME !== undefined) return { kind: 'alias', target: records.CNAME }
  if (type === 'A' || type === 'AAAA') {
    const addresses = records[type] ?? []
    return addresses.length === 0 ? { kind: 'no-data' } : { kind: 'addresses', addresses }
  }
  if (type === 'SRV' && records.SRV !== undefined)
    return { kind: 'srv', records: records.SRV }
  return { kind: 'no-data' }
}
