// SPDX-License-Identifier: Apache-2.0
// The gRPC service shop.Pricing. gRPC does not ask for protobuf: messages are JSON here, so that there is nothing to
// generate.
import type { ServiceDefinition } from '@grpc/grpc-js'

export interface QuoteRequest {
  readonly item: string
}

export interface Quote {
  readonly cents: number
  /** The pod that answered. */
  readonly pod: string
}

function toBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

export const pricingService = {
  quote: {
    path: '/shop.Pricing/Quote',
    requestStream: false,
    responseStream: false,
    requestSerialize: toBytes,
    requestDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as QuoteRequest,
    responseSerialize: toBytes,
    responseDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as Quote,
  },
} satisfies ServiceDefinition
