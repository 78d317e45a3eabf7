// SPDX-License-Identifier: Apache-2.0
// From one proxy to the next without a gap (design 6.4): the successor is given the listening sockets themselves, serves,
// and only then says so; the predecessor drains. Whoever dies on the way takes nothing along: both hold the sockets.
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server, Socket } from 'node:net'
import { socketFd } from './datapath.ts'
import { errnoOf } from './errors.ts'
import type { Native } from './native.ts'

/** What the successor says when it serves. */
const ready = 'ready\n'
/** A predecessor that does not answer for this long is left to itself. */
const patienceMs = 5000
/** Its end would be read by then. */
const stillThereMs = 10

/** The proxy that serves until we do. */
export type Predecessor = {
  /** Its listening descriptors, ours to close. */
  readonly sockets: number[]
  /** Tells it that we serve. Resolves when its admin socket and health port are free; rejects when it is silent for 5 s. */
  dismiss(): Promise<void>
  /** Resolves when it has died or has been dismissed. */
  readonly gone: Promise<void>
  /** We do not succeed it after all. */
  leave(): void
}

/**
 * The proxy that offers its sockets at `path`; undefined when there is none. `listening` says what is asked for: sockets of
 * other addresses or ports are of no use. Throws when they are, when another user owns the path, and when it does not answer.
 */
export function takeOver(
  native: Native,
  path: string,
  listening: string,
): Predecessor | undefined {
  let given: ReturnType<Native['receiveSockets']>
  try {
    given = native.receiveSockets(path)
  } catch (error) {
    if (['ENOENT', 'ECONNREFUSED'].includes(errnoOf(error) ?? '')) return undefined
    throw new Error(`cannot take over from the proxy at ${path}: ${String(error)}`, {
      cause: error,
    })
  }
  if (given.text !== listening) {
    for (const fd of [...given.sockets, given.fd]) native.closeFd(fd)
    throw new Error(
      `the proxy at ${path} listens on ${given.text}, not on ${listening}: stop it first, or give both the same addresses`,
    )
  }
  const connection = new Socket({ fd: given.fd })
  const { promise: gone, resolve } = Promise.withResolvers<void>()
  connection.on('error', () => undefined) // 'close' follows
  connection.on('close', () => {
    resolve()
  })
  connection.resume()
  return {
    sockets: given.sockets,
    gone,
    leave: () => connection.destroy(),
    dismiss: async () => {
      let silent = false
      connection.setTimeout(patienceMs, () => {
        silent = true
        connection.destroy()
      })
      connection.write(ready)
      await gone
      if (silent)
        throw new Error(`the proxy at ${path} is silent and keeps its places: end it`)
    },
  }
}

/** A proxy's offer to whoever comes after it. */
export type Offer = {
  /** Resolves when a successor serves. */
  readonly taken: Promise<'succeeded'>
  /** Whoever has been given the sockets and is still there; ended, it knows that admin socket and health port are free. */
  readonly successor: Socket | undefined
  close(): void
}

/** Offers `sockets` at `path` (mode 0600) to one successor at a time. */
export async function offerSockets(
  native: Native,
  path: string,
  listening: string,
  sockets: readonly number[],
  onError: (error: unknown) => void,
): Promise<Offer> {
  const { promise: taken, resolve } = Promise.withResolvers<'succeeded'>()
  let successor: Socket | undefined
  const server = createServer((connection) => {
    connection.on('error', () => undefined)
    connection.on('close', () => (successor = undefined))
    let said = ''
    connection.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, ready.length + 1)
      // One that has lost its patience and left meanwhile is no successor.
      if (said === ready)
        setTimeout(() => {
          if (connection === successor) resolve('succeeded')
        }, stillThereMs)
    })
    try {
      native.sendSockets(socketFd(connection), sockets, listening)
      successor = connection
    } catch (error) {
      onError(error)
      connection.destroy()
    }
  })
  server.maxConnections = 1
  await listenAt(server, path)
  return {
    taken,
    get successor() {
      return successor
    },
    close: () => server.close(),
  }
}

async function listenAt(server: Server, path: string): Promise<void> {
  rmSync(path, { force: true }) // of a proxy that was killed: it would have answered
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(path, resolve)
  await promise
  chmodSync(path, 0o600)
}
