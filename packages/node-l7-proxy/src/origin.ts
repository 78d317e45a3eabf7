// SPDX-License-Identifier: Apache-2.0
// struct origin of bpf/include/pillion/types.h, and the numbers of the heartbeat. The only file with offsets; a generated
// layout can replace it.

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

export const originSize = 64

/** enum proxy_state. */
export const ProxyState = { serving: 1, draining: 2 } as const
export type ProxyState = (typeof ProxyState)[keyof typeof ProxyState]

/** The struct as a value; copies, so that `bytes` can be used again. */
export function readOrigin(bytes: Buffer): Origin {
  return {
    destination: Buffer.from(bytes.subarray(0, 16)),
    source: Buffer.from(bytes.subarray(16, 32)),
    destinationPort: bytes.readUInt16BE(32),
    sourcePort: bytes.readUInt16BE(34),
    service: bytes.readUInt32LE(36),
    identity: bytes.readUInt32LE(40),
    cgroup: bytes.readBigUInt64LE(48),
    cookie: bytes.readBigUInt64LE(56),
  }
}
