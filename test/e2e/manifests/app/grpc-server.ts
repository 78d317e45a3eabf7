// SPDX-License-Identifier: Apache-2.0
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { ServerUnaryCall, sendUnaryData, ServerWritableStream } from '@grpc/grpc-js'
import { echoService } from './grpc-service.ts'

const name = process.env['POD_NAME'] ?? 'unknown'
const server = new Server()
server.addService(echoService, {
  who: (_call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => {
    done(null, name)
  },
  count: (call: ServerWritableStream<string, string>) => {
    for (let i = 0; i < Number(call.request); i++) call.write(String(i))
    call.end()
  },
})
server.bindAsync('[::]:50051', ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error
})
