// SPDX-License-Identifier: Apache-2.0
// A gRPC unary service reduced to its frames: answers every call with the message it got and grpc-status 0.
// Not @grpc/grpc-js: its cost a call would hide what the path costs.
import { createServer } from 'node:http2'

const port = Number(process.argv[2])

createServer({ settings: { maxConcurrentStreams: 1000 } })
  .on('stream', (stream) => {
    const parts: Buffer[] = []
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('error', () => stream.close())
    stream.on('end', () => {
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: true },
      )
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(Buffer.concat(parts))
    })
  })
  .listen(port, '::')
