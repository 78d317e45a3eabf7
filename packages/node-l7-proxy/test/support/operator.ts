// SPDX-License-Identifier: Apache-2.0
// An operator for one proxy: serves resources over the real contract on a UNIX socket, and keeps the acknowledgements.
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import {
  type Ack,
  Delta,
  type Kind,
  NodeConfigService,
  Resource,
  type WatchRequest,
} from '@pillion/contract'
import { until } from './wait.ts'

export type TestOperator = {
  readonly address: string
  /** Sends a change and waits for its acknowledgement. */
  send(
    upserts: readonly Resource[],
    removals?: readonly { kind: Kind; name: string }[],
  ): Promise<Ack>
  stop(): Promise<void>
}

export async function startOperator(
  path: string,
  initial: readonly Resource[],
): Promise<TestOperator> {
  const server = new Server()
  const acks: Ack[] = []
  let version = 1
  let stream: ServerDuplexStream<WatchRequest, Delta> | undefined
  server.addService(NodeConfigService, {
    watch: (call: ServerDuplexStream<WatchRequest, Delta>) => {
      stream = call
      call.on('data', (request: WatchRequest) => {
        if (request.message?.$case === 'ack') acks.push(request.message.value)
      })
      call.on('error', () => undefined)
      call.on('end', () => {
        call.end()
      })
      call.write(
        Delta.fromPartial({ version, epoch: 'test', full: true, upserts: [...initial] }),
      )
    },
  })
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
    if (error === null) resolve(undefined)
    else reject(error)
  })
  await promise
  return {
    address: `unix:${path}`,
    send: async (upserts, removals = []) => {
      const wanted = ++version
      stream?.write(
        Delta.fromPartial({
          version: wanted,
          epoch: 'test',
          upserts: [...upserts],
          removals: [...removals],
        }),
      )
      await until(
        () => acks.some((ack) => ack.version === wanted),
        `acknowledgement of ${wanted}`,
      )
      return (
        acks.find((ack) => ack.version === wanted) ??
        acks[0] ?? { version: 0, error: 'none', resources: [] }
      )
    },
    stop: async () => {
      server.forceShutdown()
      await Promise.resolve()
    },
  }
}
