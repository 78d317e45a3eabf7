// SPDX-License-Identifier: Apache-2.0
// node grpc-client.ts ADDRESS CALLS: calls over one connection; prints how often each pod answered, then a stream.
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js'
import type { Client, ServiceError, ClientReadableStream } from '@grpc/grpc-js'
import { echoService } from './grpc-service.ts'

interface EchoClient extends Client {
  who(text: string, done: (error: ServiceError | null, pod?: string) => void): void
  count(text: string): ClientReadableStream<string>
}

const [address = '', calls = '1'] = process.argv.slice(2)
const Echo = makeGenericClientConstructor(echoService, 'Echo')
const client = new Echo(address, credentials.createInsecure()) as unknown as EchoClient
const pods: Record<string, number> = {}
for (let i = 0; i < Number(calls); i++) {
  const pod = await new Promise<string>((resolve) =>
    client.who('?', (error, answer) => resolve(error?.details ?? answer ?? '')),
  )
  pods[pod] = (pods[pod] ?? 0) + 1
}
let streamed = 0
for await (const message of client.count('100')) streamed += Number(message) >= 0 ? 1 : 0
client.close()
console.log(JSON.stringify({ pods, streamed }))
