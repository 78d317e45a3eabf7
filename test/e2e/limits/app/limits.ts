// SPDX-License-Identifier: Apache-2.0
// A rate limit service (envoy.service.ratelimit.v3): the first five requests of what it is asked about are under the limit.
import { type sendUnaryData, Server, ServerCredentials } from '@grpc/grpc-js'
import type { ServerUnaryCall } from '@grpc/grpc-js'

const limit = 5
/** By the question, byte for byte. */
const counts = new Map<string, number>()
const plain = (bytes: Buffer): Buffer => bytes
const definition = {
  shouldRateLimit: {
    path: '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
    ...{ requestStream: false, responseStream: false },
    ...{ requestSerialize: plain, requestDeserialize: plain },
    ...{ responseSerialize: plain, responseDeserialize: plain },
  },
} as const

const server = new Server()
server.addService(definition, {
  shouldRateLimit: (
    { request }: ServerUnaryCall<Buffer, Buffer>,
    reply: sendUnaryData<Buffer>,
  ) => {
    const key = request.toString('latin1')
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    // overall_code: OK, or OVER_LIMIT.
    reply(null, Buffer.from([8, count > limit ? 2 : 1]))
  },
})
server.bindAsync('[::]:8081', ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error
})
