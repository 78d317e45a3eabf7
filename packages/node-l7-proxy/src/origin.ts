// SPDX-License-Identifier: Apache-2.0
// What the kernel says of an accepted connection, as the proxy keeps it; bytes come from the generated layout.
import { originLayout } from './gen/layout.ts'

/** Where an accepted connection was headed, and who made it. */
export type Origin = {
  /** 16 bytes each, network order, IPv4 mapped. */
  readonly destination: Buffer
  readonly source: Buffer
  readonly destinationPort: number
  readonly sourcePort: number
  /** ServicePort.id of the contract. */
  readonly service: number
  /** Identity of the client. */
  readonly identity: number
  /** cgroup id of the client's pod; 0: in no pod. */
  readonly cgroup: bigint
  /** Cookie of the client's socket: the key of its flow events. */
  readonly cookie: bigint
}

export const originSize: number = originLayout.size

/** The struct as a value; copies, so that `bytes` can be used again. */
export function readOrigin(bytes: Buffer): Origin {
  const { dst, src, dstPort, srcPort, service, identity, cgroup, cookie } =
    originLayout.read(bytes)
  return {
    destination: Buffer.from(dst),
    source: Buffer.from(src),
    destinationPort: dstPort,
    sourcePort: srcPort,
    service,
    identity,
    cgroup,
    cookie,
  }
}
