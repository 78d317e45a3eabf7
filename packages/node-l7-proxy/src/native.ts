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
  listenSocket(address: string, port: number, reusePort: boolean): number
  closeFd(fd: number): void
}

const require = createRequire(import.meta.url)

/** Loads the addon; throws when it was not built (`make -C packages/node-l7-proxy/native`). */
export function loadNative(): Native {
  return require('../.build/sockopt.node') as Native
}
