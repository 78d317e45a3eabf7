// SPDX-License-Identifier: Apache-2.0
// What the proxy asks of the kernel (design 4.4), as an interface: tests inject their own from test code; no option of
// the running proxy selects anything but the kernel.
import { Socket } from 'node:net'
import { loadNative, type Native } from './native.ts'
import type { ProxyState } from './gen/layout.ts'
import { originSize, type Origin, readOrigin } from './origin.ts'

export type Datapath = {
  /** Where an accepted connection was headed; undefined: the kernel did not send it here, close it. */
  origin(socket: Socket): Origin | undefined
  /** An unconnected TCP descriptor whose connection will carry `identity`. Throws with an errno code. */
  openSocket(family: 4 | 6, identity: number): number
  /** Renews the dead-man switch (design 4.7) through a listening descriptor. Throws with an errno code. */
  heartbeat(listenFd: number, state: ProxyState, pid: number): void
}

/** The real one. */
export class KernelDatapath implements Datapath {
  readonly #native: Native
  readonly #buffer: Buffer = Buffer.alloc(originSize)

  constructor(native: Native = loadNative()) {
    this.#native = native
  }

  origin(socket: Socket): Origin | undefined {
    const fd = socketFd(socket)
    if (fd < 0 || !this.#native.getOrigin(fd, this.#buffer)) return undefined
    return readOrigin(this.#buffer)
  }

  openSocket(family: 4 | 6, identity: number): number {
    return this.#native.openSocket(family, identity)
  }

  heartbeat(listenFd: number, state: ProxyState, pid: number): void {
    this.#native.setHeartbeat(listenFd, state, pid)
  }
}

/** The descriptor under a socket, -1 when it is closed. Node has no public accessor; this is the one place that looks. */
export function socketFd(socket: Socket): number {
  const handle = (socket as unknown as { _handle: { fd?: number } | null })._handle
  return handle?.fd ?? -1
}
