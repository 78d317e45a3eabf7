// SPDX-License-Identifier: Apache-2.0
// PURE: what routes attach to, how it is named, and who comes first.
import { L7Protocol } from '@pillion/contract'
import type { ApiObject } from '../api/object.ts'

export type Route = ApiObject<'HTTPRoute'> | ApiObject<'GRPCRoute'>
export type Service = ApiObject<'Service'>
export type Port = Service['spec']['ports'][number]

/** "shop/web:80/TCP". */
export function servicePortName(service: Service, port: Port): string {
  return `${service.metadata.namespace}/${service.metadata.name}:${port.port}/${port.protocol}`
}

/**
 * appProtocols that an HTTP or gRPC route may stand in front of (GEP-1911, KEP-3726, and the names that meshes have long used),
 * and what is spoken there; a port that says another word is left alone. WebSocket is an Upgrade of HTTP/1.1.
 */
export const appProtocols: ReadonlyMap<string, L7Protocol> = new Map([
  ['http', L7Protocol.HTTP],
  ['http2', L7Protocol.HTTP2],
  ['grpc', L7Protocol.GRPC],
  ['kubernetes.io/h2c', L7Protocol.HTTP2],
  ['kubernetes.io/ws', L7Protocol.HTTP],
])

/** Older first; without a time after those with one; then by namespace and name. */
export function byAge(
  a: { metadata: ApiObject['metadata'] },
  b: { metadata: ApiObject['metadata'] },
): number {
  // RFC 3339 in UTC, as Kubernetes writes it, sorts as text; "~" is after every digit.
  const age = (object: typeof a): string => object.metadata.creationTimestamp ?? '~'
  const name = (object: typeof a): string =>
    `${object.metadata.namespace}/${object.metadata.name}`
  return compareText(age(a), age(b)) || compareText(name(a), name(b))
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
