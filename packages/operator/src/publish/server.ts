// SPDX-License-Identifier: Apache-2.0
// The gRPC face of the publisher.
import { lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { Server, ServerCredentials, status, type ServerDuplexStream } from '@grpc/grpc-js'
import {
  contractVersion,
  NodeConfigService,
  Role,
  type Delta,
  type Hello,
  type WatchRequest,
} from '@pillion/contract'
import { messageOf, OperatorError } from '../errors.ts'
import type { Publisher } from './publisher.ts'

/** Limits of the server. */
export const serverLimits = {
  /** A hello or an ack; both are small. */
  maxReceiveBytes: 256 * 1024,
  maxStreams: 10_000,
  keepaliveMs: 10_000,
  keepaliveTimeoutMs: 5_000,
  /** sun_path of unix(7), without its end. */
  socketPathBytes: 107,
} as const

type Call = ServerDuplexStream<WatchRequest, Delta>

/** Serves `publisher` on `address` until the returned function is called. Throws an OperatorError `LISTEN`. */
export async function serve(
  address: string,
  publisher: Publisher,
): Promise<{ port: number; close(): void }> {
  if (address.startsWith('unix:')) await prepareSocket(address.slice('unix:'.length))
  const server = new Server({
    'grpc.max_receive_message_length': serverLimits.maxReceiveBytes,
    'grpc.keepalive_time_ms': serverLimits.keepaliveMs,
    'grpc.keepalive_timeout_ms': serverLimits.keepaliveTimeoutMs,
  })
  let streams = 0
  server.addService(NodeConfigService, {
    watch: (call: Call) => {
      if (streams >= serverLimits.maxStreams) {
        refuse(call, status.RESOURCE_EXHAUSTED, `${streams} streams are open already`)
        return
      }
      streams++
      call.once('close', () => streams--)
      handle(call, publisher)
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound)
      else
        reject(
          new OperatorError('LISTEN', `${address}: ${error.message}`, { cause: error }),
        )
    })
  })
  return { port, close: () => server.forceShutdown() }
}

function handle(call: Call, publisher: Publisher): void {
  let session: ReturnType<Publisher['open']> | undefined
  const end = (): void => {
    session?.close()
    session = undefined
  }
  // A broken stream is the client's business: it comes back and resumes.
  call.on('error', end)
  call.on('cancelled', end)
  call.on('close', end)
  call.on('end', () => {
    end()
    call.end()
  })
  call.on('data', ({ message }: WatchRequest) => {
    if (message?.$case === 'ack') {
      session?.ack(message.value)
      return
    }
    if (message?.$case !== 'hello' || session !== undefined) return
    const problem = problemOf(message.value)
    if (problem !== undefined) {
      refuse(call, ...problem)
      return
    }
    session = publisher.open(message.value, (delta) => call.write(delta))
  })
}

function problemOf(hello: Hello): [status, string] | undefined {
  if (hello.contractVersion !== contractVersion) {
    return [
      status.FAILED_PRECONDITION,
      `contract version ${hello.contractVersion} of ${hello.softwareVersion} is not spoken here; this operator speaks ${contractVersion}`,
    ]
  }
  if (hello.node === '' || (hello.role !== Role.AGENT && hello.role !== Role.PROXY)) {
    return [status.INVALID_ARGUMENT, 'hello must name a node and a role']
  }
  return undefined
}

function refuse(call: Call, code: status, details: string): void {
  call.emit('error', { code, details })
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
