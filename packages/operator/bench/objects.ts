// SPDX-License-Identifier: Apache-2.0
// A cluster that nobody runs: as many Nodes, Pods, Services and EndpointSlices as asked for.
import { parseObject, type ApiKind, type ApiObject } from '../src/api/object.ts'

export interface Size {
  readonly services: number
  readonly endpoints: number
  readonly nodes: number
}

const namespace = 'bench'

function object(
  apiVersion: string,
  kind: ApiKind,
  metadata: object,
  rest: object,
): ApiObject {
  const raw = { apiVersion, kind, metadata: metadata as { name: string }, ...rest }
  const { object: parsed, errors } = parseObject(kind, raw, 'bench')
  if (parsed === undefined) throw new Error(JSON.stringify(errors))
  return parsed
}

/** 24 bits of an address below `first`. */
export function addressOf(first: number, n: number): string {
  return `${first}.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
}

/** First byte of the address that carries the number of a change. */
export const markedFirst = 11

/** The slice of a service; its first endpoint has the address of change `mark`. */
export function slice(size: Size, service: number, mark?: number): ApiObject {
  return object(
    'discovery.k8s.io/v1',
    'EndpointSlice',
    {
      name: `service-${service}-1`,
      namespace,
      labels: { 'kubernetes.io/service-name': `service-${service}` },
    },
    {
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
      endpoints: Array.from({ length: size.endpoints }, (_, i) => {
        const pod = service * size.endpoints + i
        const marked = i === 0 && mark !== undefined
        return {
          addresses: [marked ? addressOf(markedFirst, mark) : addressOf(10, pod)],
          nodeName: `node-${pod % size.nodes}`,
          targetRef: { kind: 'Pod', namespace, name: `pod-${pod}` },
        }
      }),
    },
  )
}

export function cluster(size: Size): ApiObject[] {
  const nodes = Array.from({ length: size.nodes }, (_, n) =>
    object(
      'v1',
      'Node',
      { name: `node-${n}` },
      {
        status: { addresses: [{ type: 'InternalIP', address: addressOf(172, n) }] },
      },
    ),
  )
  const services = Array.from({ length: size.services }, (_, s) => [
    object(
      'v1',
      'Service',
      { name: `service-${s}`, namespace },
      {
        spec: { clusterIP: addressOf(100, s), ports: [{ name: 'http', port: 80 }] },
      },
    ),
    slice(size, s),
    ...Array.from({ length: size.endpoints }, (_, i) =>
      pod(size, s, s * size.endpoints + i),
    ),
  ])
  return [...nodes, ...services.flat()]
}

function pod(size: Size, service: number, n: number): ApiObject {
  const labels = { app: `service-${service}` }
  return object(
    'v1',
    'Pod',
    { name: `pod-${n}`, namespace, uid: `uid-${n}`, labels },
    {
      spec: {
        nodeName: `node-${n % size.nodes}`,
        containers: [{ ports: [{ name: 'http', containerPort: 8080 }] }],
      },
      status: { phase: 'Running', podIPs: [{ ip: addressOf(10, n) }] },
    },
  )
}
