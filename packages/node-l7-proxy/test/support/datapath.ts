// SPDX-License-Identifier: Apache-2.0
// A datapath for tests without the kernel's. What the kernel would know is in the addresses: a client that connects to
// 127.0.0.N asked for service N, one that comes from 127.0.1.M has identity 256 + M. 127.0.0.250 has no origin.
import type { Socket } from 'node:net'
import { parseAddress } from '@pillion/contract'
import type { Datapath } from '../../src/datapath.ts'
import { loadNative } from '../../src/native.ts'
import type { Origin } from '../../src/origin.ts'

export class LoopbackDatapath implements Datapath {
  readonly #native = loadNative()

  origin(socket: Socket): Origin | undefined {
    const service = lastByte(socket.localAddress)
    if (service === 250) return undefined
    const source = socket.remoteAddress ?? '127.0.0.1'
    return {
      destination: parseAddress(`10.96.0.${service}`),
      source: parseAddress(source),
      destinationPort: 80,
      sourcePort: socket.remotePort ?? 0,
      service,
      identity: source.startsWith('127.0.1.') ? 256 + lastByte(source) : 256,
      cgroup: 1n,
      cookie: 1n,
    }
  }

  openSocket(family: 4 | 6): number {
    return this.#native.openSocket(family, undefined)
  }

  heartbeat(): void {
    /* no kernel to tell */
  }
}

function lastByte(address: string | undefined): number {
  return Number(address?.split('.')[3])
}
