// SPDX-License-Identifier: Apache-2.0
// Serves shop.Pricing on port 50051.
import { Server, ServerCredentials, type handleUnaryCall } from '@grpc/grpc-js'
import { pricingService, type Quote, type QuoteRequest } from './pricing-service.ts'

const pod = process.env['POD_NAME'] ?? 'pricing'

const quote: handleUnaryCall<QuoteRequest, Quote> = (call, answer) => {
  answer(null, { cents: 100 * call.request.item.length, pod })
}

const server = new Server()
server.addService(pricingService, { quote })
server.bindAsync('[::]:50051', ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error
})
process.on('SIGTERM', () => server.tryShutdown(() => process.exit(0)))
