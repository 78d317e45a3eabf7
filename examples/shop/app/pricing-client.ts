// SPDX-License-Identifier: Apache-2.0
// Calls shop.Pricing over one long connection, as every gRPC client does.
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { pricingService, type Quote, type QuoteRequest } from './pricing-service.ts'

const deadlineMs = 2000

/** A function that asks for a price. */
export function pricingClient(
  target: string,
): (item: string, traceparent?: string) => Promise<Quote> {
  const client = new Client(target, credentials.createInsecure())
  const { path, requestSerialize, responseDeserialize } = pricingService.quote
  return (item, traceparent) =>
    new Promise((resolve, reject) => {
      const metadata = new Metadata()
      if (traceparent !== undefined) metadata.set('traceparent', traceparent)
      client.makeUnaryRequest<QuoteRequest, Quote>(
        path,
        requestSerialize,
        responseDeserialize,
        { item },
        metadata,
        { deadline: Date.now() + deadlineMs },
        (error, quote) => {
          if (error !== null) reject(error)
          else if (quote === undefined) reject(new Error('no quote'))
          else resolve(quote)
        },
      )
    })
}
