// SPDX-License-Identifier: Apache-2.0
// The gRPC face of the publisher.
import { lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import { isLocalAddress, NodeConfigService } from '@pillion/contract'
import { messageOf, OperatorError } from '../errors.ts'
import type { Authenticate } from './authenticate.ts'
import { encodeDelta } from './encode.ts'
import type { PublishMetrics } from './metrics.ts'
import type { Publisher } from './publisher.ts'
import { serveStream, type Call, type StreamLimits } from './stream.ts'

/** Limits of the server. */
export const serverLimits = {
  /** A hello or an ack; a summary of ten kinds whose buckets are all in use is 184 kB. */
  maxReceiveBytes: 256 * 1024,
  maxStreams: 10_000,
  /** Of one connection; agents and proxies open one. */
  maxStreamsOfConnection: 16,
  /** Connections without a stream are closed: whoever opens them has shown no token yet. */
  idleConnectionMs: 60_000,
  keepaliveMs: 10_000,
  keepaliveTimeoutMs: 5_000,
  helloMs: 10_000,
  takeMs: 60_000,
  maxAgeMs: 3_600_000,
  /** sun_path of unix(7), without its end. */
  socketPathBytes: 107,
} as const

export interface ServeOptions {
  /** Who is let in; needs TLS unless nobody else reaches the address. Without: whoever reaches it. */
  readonly authenticate?: Authenticate
  /** See `Certificates`; without: no TLS, and then only a UNIX socket or loopback. */
  readonly tls?: ServerCredentials
  readonly limits?: Partial<StreamLimits & { readonly idleConnectionMs: number }>
  readonly metrics?: PublishMetrics
}

/**
 * Serves `publisher` on `address` until the returned function is called. Throws an OperatorError `LISTEN`, also where the
 * configuration of all nodes would be open to the network.
 */
export async function serve(
  address: string,
  publisher: Publisher,
  options: ServeOptions = {},
): Promise<{ port: number; close(): void }> {
  const { tls, authenticate, metrics } = options
  if (!isLocalAddress(address) && (tls === undefined || authenticate === undefined)) {
    throw new OperatorError(
      'LISTEN',
      `${address}: a network address needs TLS and tokens; use unix:PATH or 127.0.0.1 without them`,
    )
  }
  if (address.startsWith('unix:')) await prepareSocket(address.slice('unix:'.length))
  const limits = { ...serverLimits, ...options.limits }
  const server = new Server({
    'grpc.max_concurrent_streams': serverLimits.maxStreamsOfConnection,
    'grpc.max_connection_idle_ms': limits.idleConnectionMs,
    'grpc.max_receive_message_length': serverLimits.maxReceiveBytes,
    'grpc.keepalive_time_ms': serverLimits.keepaliveMs,
    'grpc.keepalive_timeout_ms': serverLimits.keepaliveTimeoutMs,
  })
  const streamOptions = {
    publisher,
    authenticate,
    limits,
    onRefused: (code: status) => metrics?.refused(code),
    onAged: () => metrics?.aged(),
  }
  let streams = 0
  const count = (by: number): void => {
    streams += by
    if (metrics !== undefined) metrics.streams = streams
  }
  if (metrics !== undefined) metrics.publisher = publisher
  const watch = { ...NodeConfigService.watch, responseSerialize: encodeDelta }
  server.addService(
    { watch },
    {
      watch: (call: Call) => {
        if (streams >= serverLimits.maxStreams) {
          metrics?.refused(status.RESOURCE_EXHAUSTED)
          call.emit('error', {
            code: status.RESOURCE_EXHAUSTED,
            details: `${streams} streams are open already`,
          })
          return
        }
        count(1)
        call.once('close', () => count(-1))
        serveStream(call, streamOptions)
      },
    },
  )
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = tls ?? ServerCredentials.createInsecure()
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) resolve(bound)
      else
        reject(
          new OperatorError('LISTEN', `${address}: ${error.message}`, { cause: error }),
        )
    })
  })
  return { port, close: () => server.forceShutdown() }
}

/** A socket that a killed operator left behind is in the way of bind; one that is served is not ours to take. */
export async function prepareSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > serverLimits.socketPathBytes) {
    const limit = `Linux allows ${serverLimits.socketPathBytes} bytes for the path of a socket`
    throw new OperatorError('LISTEN', `${path}: ${limit}; use a shorter one`)
  }
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket())
    throw new OperatorError('LISTEN', `${path} exists and is no socket`)
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
  if (alive) throw new OperatorError('LISTEN', `${path}: another operator listens there`)
  try {
    rmSync(path)
  } catch (error) {
    throw new OperatorError('LISTEN', `${path}: ${messageOf(error)}`, { cause: error })
  }
}
