// SPDX-License-Identifier: Apache-2.0
// A rate limit service: the real protocol (envoy.service.ratelimit.v3) over a real gRPC server, and whatever answer a test wants.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import {
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
} from '@grpc/grpc-js'
import {
  type HeaderValue,
  RateLimitRequest,
  RateLimitResponse,
} from '../../src/gen/envoy/service/ratelimit/v3/rls.ts'

const definition = {
  shouldRateLimit: {
    path: '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: RateLimitRequest) =>
      Buffer.from(RateLimitRequest.encode(value).finish()),
    requestDeserialize: (bytes: Buffer) => RateLimitRequest.decode(bytes),
    responseSerialize: (value: RateLimitResponse) =>
      Buffer.from(RateLimitResponse.encode(value).finish()),
    responseDeserialize: (bytes: Buffer) => RateLimitResponse.decode(bytes),
  },
} as const

/** An answer with what it says nothing of left empty. */
export function answerOf(said: Partial<RateLimitResponse>): RateLimitResponse {
  return { ...RateLimitResponse.fromPartial({}), ...said }
}

export function header(key: string, value: string): HeaderValue {
  return { key, value, rawValue: Buffer.alloc(0) }
}

/** 'silence': no answer ever; a number: that gRPC status. */
export type Judge = (
  asked: RateLimitRequest,
) => Partial<RateLimitResponse> | 'silence' | number

export type RateLimitService = {
  readonly port: number
  readonly asked: RateLimitRequest[]
  /** "host:port" that calls named. */
  readonly authorities: string[]
  /** Calls that are not answered, and that the client has not given up. */
  readonly open: number
  /** That clients have to it. */
  readonly connections: number
  judge: Judge
  /** Dies, as processes do: nothing is ended in order. */
  stop(): Promise<void>
}

/** Listens on 127.0.0.1; on `port` to come back where one was. */
export async function startRateLimitService(
  judge: Judge,
  port = 0,
): Promise<RateLimitService> {
  const server = new Server()
  const front = await listenBefore(await bind(server), port)
  let open = 0
  const service: RateLimitService = {
    ...{ port: front.port, asked: [], authorities: [], judge },
    get open() {
      return open
    },
    get connections() {
      return front.sockets.size
    },
    stop: async () => {
      server.forceShutdown()
      await front.close()
    },
  }
  server.addService(definition, {
    shouldRateLimit: (
      call: ServerUnaryCall<RateLimitRequest, RateLimitResponse>,
      reply: sendUnaryData<RateLimitResponse>,
    ) => {
      service.asked.push(call.request)
      service.authorities.push(call.getHost())
      const answer = service.judge(call.request)
      if (typeof answer === 'number') reply({ code: answer, details: 'refused' })
      else if (answer !== 'silence') reply(null, answerOf(answer))
      else {
        open++
        call.on('cancelled', () => open--)
      }
    },
  })
  return service
}

async function bind(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
    if (error === null) resolve(bound)
    else reject(error)
  })
  return promise
}

/** Passes bytes on to `behind`, because the gRPC server does not say how many connections it has. */
async function listenBefore(
  behind: number,
  port: number,
): Promise<{ port: number; sockets: Set<Socket>; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const front = createServer((socket) => {
    const inner = connect(behind, '127.0.0.1').setNoDelay()
    socket.setNoDelay()
    sockets.add(socket)
    for (const [one, other] of [
      [socket, inner],
      [inner, socket],
    ] as const) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
      one.pipe(other)
    }
    socket.on('close', () => sockets.delete(socket))
  })
  front.listen(port, '127.0.0.1')
  await once(front, 'listening')
  return {
    port: (front.address() as AddressInfo).port,
    sockets,
    close: async () => {
      const closed = once(front, 'close')
      front.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
