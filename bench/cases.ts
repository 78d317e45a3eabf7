// SPDX-License-Identifier: Apache-2.0
// What is measured. A case belongs to one of the two topologies; ids are what targets.ts compares.
import type { Load } from './load.ts'
import type { Topology } from './topology.ts'

export interface Case {
  readonly id: string
  /** As the report calls it. */
  readonly title: string
  readonly mesh: boolean
  /** Rows that are compared stand in one table. */
  readonly group: 'l4' | 'connect' | 'http' | 'latency' | 'grpc'
  readonly load: (topology: Topology) => Load
}

/** Requests per second of the open-loop cases: about 30 % of what a pair of nginx carries on the reference machine. */
export const openLoopRate = 5000

const at = (names: ReadonlyMap<string, string>, name: string): string => {
  const address = names.get(name)
  if (address === undefined || address === '') throw new Error(`${name} has no address`)
  return address
}

const pod = (name: string, port: number, path: string) => (topology: Topology) =>
  `http://${at(topology.pods, name)}:${port}${path}`

const service = (name: string, path: string) => (topology: Topology) =>
  `http://${at(topology.services, name)}${path}`

type Where = (topology: Topology) => string
const http =
  (where: Where) =>
  (topology: Topology): Load => ({ kind: 'http', url: where(topology) })
const grpc =
  (where: Where) =>
  (topology: Topology): Load => ({ kind: 'grpc', url: where(topology) })
const rate =
  (where: Where) =>
  (topology: Topology): Load => ({
    kind: 'rate',
    url: where(topology),
    requestsPerSecond: openLoopRate,
  })
const connect =
  (name: string, port: number) =>
  (topology: Topology): Load => ({
    kind: 'connect',
    host: at(topology.mesh ? topology.services : topology.pods, name),
    port,
  })

const call = '/bench.Echo/Unary'

export const cases: readonly Case[] = [
  {
    id: 'l4-direct',
    group: 'l4',
    mesh: false,
    title: 'no mesh, one node',
    load: http(pod('web', 8080, '/120')),
  },
  {
    id: 'l4-gear0',
    group: 'l4',
    mesh: true,
    title: 'gear 0, one node',
    load: http(service('web', '/120')),
  },
  {
    id: 'l4-direct-nodes',
    group: 'l4',
    mesh: false,
    title: 'no mesh, two nodes',
    load: http(pod('web-remote', 8080, '/120')),
  },
  {
    id: 'l4-gear0-nodes',
    group: 'l4',
    mesh: true,
    title: 'gear 0, two nodes',
    load: http(service('web-remote', '/120')),
  },

  {
    id: 'connect-direct',
    group: 'connect',
    mesh: false,
    title: 'no mesh',
    load: connect('accept', 8300),
  },
  {
    id: 'connect-gear0',
    group: 'connect',
    mesh: true,
    title: 'gear 0',
    load: connect('accept', 80),
  },
  {
    id: 'connect-haproxy2',
    group: 'connect',
    mesh: false,
    title: 'two HAProxy TCP hops',
    load: connect('haproxy-a', 8202),
  },

  {
    id: 'http-direct',
    group: 'http',
    mesh: false,
    title: 'no mesh',
    load: http(pod('web', 8080, '/1k')),
  },
  {
    id: 'http-gear3',
    group: 'http',
    mesh: true,
    title: 'gear 3',
    load: http(service('web-l7', '/1k')),
  },
  {
    id: 'http-nginx1',
    group: 'http',
    mesh: false,
    title: 'one nginx hop',
    load: http(pod('nginx-b', 8101, '/1k')),
  },
  {
    id: 'http-nginx2',
    group: 'http',
    mesh: false,
    title: 'two nginx hops',
    load: http(pod('nginx-a', 8101, '/1k')),
  },
  {
    id: 'http-haproxy2',
    group: 'http',
    mesh: false,
    title: 'two HAProxy hops',
    load: http(pod('haproxy-a', 8201, '/1k')),
  },

  {
    id: 'latency-direct',
    group: 'latency',
    mesh: false,
    title: 'no mesh',
    load: rate(pod('web', 8080, '/1k')),
  },
  {
    id: 'latency-gear3',
    group: 'latency',
    mesh: true,
    title: 'gear 3',
    load: rate(service('web-l7', '/1k')),
  },
  {
    id: 'latency-nginx2',
    group: 'latency',
    mesh: false,
    title: 'two nginx hops',
    load: rate(pod('nginx-a', 8101, '/1k')),
  },
  {
    id: 'latency-haproxy2',
    group: 'latency',
    mesh: false,
    title: 'two HAProxy hops',
    load: rate(pod('haproxy-a', 8201, '/1k')),
  },

  {
    id: 'grpc-direct',
    group: 'grpc',
    mesh: false,
    title: 'no mesh',
    load: grpc(pod('grpc', 8400, call)),
  },
  {
    id: 'grpc-gear3',
    group: 'grpc',
    mesh: true,
    title: 'gear 3',
    load: grpc(service('grpc', call)),
  },
  {
    id: 'grpc-nghttpx2',
    group: 'grpc',
    mesh: false,
    title: 'two nghttpx hops',
    load: grpc(pod('nghttpx-a', 8401, call)),
  },
]
