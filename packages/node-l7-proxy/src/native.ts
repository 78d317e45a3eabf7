// SPDX-License-Identifier: Apache-2.0
// Typed view of the addon (native/sockopt.c); the only importer of the .node file.
import { createRequire } from 'node:module'

/** What the addon exports. Failures are Errors with `code` ("EPERM") and `errno`. */
export type Native = {
  /** Fills `buffer` (exactly struct origin); false when the kernel did not redirect this connection. */
  getOrigin(fd: number, buffer: Buffer): boolean
  setHeartbeat(fd: number, state: number, pid: number): void
  /** A non-blocking TCP socket that carries `identity`; undefined: the kernel is not asked (tests). */
  openSocket(family: 4 | 6, identity: number | undefined): number
  /** A listening descriptor that no event loop watches. */
  listenSocket(address: string, port: number): number
  closeFd(fd: number): void
  /** Writes all of `bytes` to a socket at once, or nothing and false. */
  sendNow(fd: number, bytes: Buffer): boolean
  /** Another descriptor of the same socket. */
  duplicate(fd: number): number
  /** Hands descriptors over a UNIX socket, with a text of at most 511 bytes. EPERM: another user is at its other end. */
  sendSockets(fd: number, sockets: readonly number[], text: string): void
  /** Connects to `path` and waits up to 2 s for what somebody hands over there; `fd` is the connection. */
  receiveSockets(path: string): { fd: number; sockets: number[]; text: string }
}

const require = createRequire(import.meta.url)

/** Loads the addon; throws when it was not built (`make -C packages/node-l7-proxy/native`). */
export function loadNative(): Native {
  return require('../.build/sockopt.node') as Native
}
