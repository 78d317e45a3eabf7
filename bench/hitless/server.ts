// SPDX-License-Identifier: Apache-2.0
// Answers with what it was sent: HTTP/1.1 on 8081, HTTP/2 and gRPC on 8082. /slow takes its time, /Stream sends ten messages.
import { createServer } from 'node:http'
import { createServer as createServer2, type ServerHttp2Stream } from 'node:http2'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

const slowMs = 300
const messages = 10
const betweenMs = 100

async function read(stream: Readable): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

createServer((request, response) => {
  void read(request).then(async (body) => {
    if (request.url === '/slow') await sleep(slowMs)
    response.end(body)
  })
}).listen(8081, '::')

async function answer2(stream: ServerHttp2Stream, path: string): Promise<void> {
  const body = await read(stream)
  if (!path.startsWith('/bench.Echo/')) {
    stream.respond({ ':status': 200 })
    stream.end(body)
    return
  }
  const head = { ':status': 200, 'content-type': 'application/grpc' }
  stream.respond(head, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  const count = path.endsWith('/Stream') ? messages : 1
  for (let i = 0; i < count && !stream.destroyed; i++) {
    stream.write(body)
    if (count > 1) await sleep(betweenMs)
  }
  stream.end()
}

createServer2({ settings: { maxConcurrentStreams: 1000 } })
  .on('stream', (stream, headers) => {
    stream.on('error', () => stream.close())
    answer2(stream, headers[':path'] ?? '').catch(() => stream.close())
  })
  .listen(8082, '::')
