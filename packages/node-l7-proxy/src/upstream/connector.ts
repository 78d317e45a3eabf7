// SPDX-License-Identifier: Apache-2.0
// Makes upstream sockets. The descriptor exists before net.Socket does, because the identity that the connection carries
// must be set before connect(2), where the kernel judges it (design 4.4).
import { Socket, type SocketConstructorOpts } from 'node:net'
import type { ConnectionGate } from '../cluster/breaker.ts'
import type { Datapath } from '../datapath.ts'
import { errnoOf } from '../errors.ts'
import { ConnectError, limitCode } from './failure.ts'

export type Target = {
  readonly host: string
  readonly port: number
  readonly family: 4 | 6
  /** Identity that the connection carries. */
  readonly identity: number
  readonly timeoutMs: number
  /** Counts the connections of this pool and may refuse one more; absent: nobody counts. */
  readonly gate?: ConnectionGate
}

/** A socket that is connecting. It emits 'connect', or 'error' with syscall "connect" and the errno code. */
export function connectUpstream(datapath: Datapath, target: Target): Socket {
  const refusal = target.gate?.enter()
  if (refusal !== undefined) throw new ConnectError(limitCode, refusal)
  let fd
  try {
    fd = openDescriptor(datapath, target)
  } catch (error) {
    target.gate?.leave()
    throw error
  }
  // manualStart (known to node, not to its types): nothing can be read before the connection exists.
  const adopt = { fd, readable: true, writable: true, manualStart: true }
  const socket = new Socket(adopt as SocketConstructorOpts)
  const timer = setTimeout(() => {
    socket.destroy(
      new ConnectError(
        'ETIMEDOUT',
        `no connection to ${target.host}:${target.port} in ${target.timeoutMs} ms`,
      ),
    )
  }, target.timeoutMs)
  const settle = (): void => {
    clearTimeout(timer)
  }
  socket.once('connect', settle).once('close', settle)
  socket.once('close', () => {
    target.gate?.leave()
  })
  socket.connect({ host: target.host, port: target.port })
  return socket
}

function openDescriptor(datapath: Datapath, target: Target): number {
  try {
    return datapath.openSocket(target.family, target.identity)
  } catch (error) {
    // Not EPERM even when it is: that would read as a verdict on the client, and this is our own trouble.
    throw new ConnectError(
      'ESOCKET',
      `cannot open a socket: ${errnoOf(error) ?? String(error)}`,
      { cause: error },
    )
  }
}
