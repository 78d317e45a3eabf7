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
export type Zone = Record<string, { A?: string[]; AAAA?: string[]; SRV?: SrvRecord[] }>

interface SliceObject extends KubeObject {
  addressType: 'IPv4' | 'IPv6'
  ports: { name: string; port: number; protocol: string }[]
  endpoints: { addresses: string[]; conditions: { ready: boolean } }[]
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
    if (service.spec.clusterIP === 'None') {
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
    const ready = endpoints.filter(({ conditions }) => conditions.ready)
    for (const address of ready.flatMap(({ addresses }) => addresses)) {
      const own = `${address.replaceAll(/[.:]+/g, '-')}.${host}`
      addAddress(zone, host, address)
      addAddress(zone, own, address)
      for (const { name, port, protocol } of ports) {
        addSrv(zone, host, name, protocol, { port, target: own })
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
  records.SRV = [...(records.SRV ?? []), record]
}

export type RecordType = 'A' | 'AAAA' | 'SRV'

/** What the zone says about a question. */
export type Lookup =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'srv'; readonly records: readonly SrvRecord[] }
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
  if (type === 'A' || type === 'AAAA') {
    const addresses = records[type] ?? []
    return addresses.length === 0 ? { kind: 'no-data' } : { kind: 'addresses', addresses }
  }
  if (type === 'SRV' && records.SRV !== undefined)
    return { kind: 'srv', records: records.SRV }
  return { kind: 'no-data' }
}
