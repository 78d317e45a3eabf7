// SPDX-License-Identifier: Apache-2.0
// Clients and backends of the tests: plain node, nothing of the proxy's.
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo, Server, Socket } from 'node:net'

export type Backend = { readonly port: number; close(): Promise<void> }

/** Listens on a free port of 127.0.0.1. */
export async function listen(server: Server): Promise<Backend> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}

export async function httpBackend(handler: http.RequestListener): Promise<Backend> {
  return listen(http.createServer(handler))
}

export type Reply = {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly trailers: NodeJS.Dict<string>
  readonly body: string
}

/** One request to service `service` (127.0.0.<service>) from identity 256 + `from`. */
export async function ask(
  port: number,
  service: number,
  path: string,
  options: http.RequestOptions & { body?: string | Buffer; from?: number } = {},
): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const request = http.request(
    {
      host: `127.0.0.${service}`,
      port,
      path,
      localAddress: options.from === undefined ? undefined : `127.0.1.${options.from}`,
      agent: false,
      ...options,
    },
    (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('error', reject)
      response.on('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          trailers: response.trailers,
          body,
        })
      })
    },
  )
  request.on('error', reject)
  request.end(options.body)
  return promise
}
