// SPDX-License-Identifier: Apache-2.0
// An HTTP/2 server that does, by path, what servers should not do.
import { createServer, type ServerHttp2Stream } from 'node:http2'

const body = Buffer.alloc(1024, 'x')

function answer(stream: ServerHttp2Stream): void {
  if (stream.destroyed || stream.closed) return
  stream.respond({ ':status': 200 })
  stream.end(body)
}

const behaviours: Record<string, (stream: ServerHttp2Stream) => void> = {
  '/': answer,
  '/slow': (stream) => {
    setTimeout(() => {
      answer(stream)
    }, 5)
  },
  '/reset': (stream) => {
    stream.close(2)
  },
  '/refuse': (stream) => {
    stream.close(7)
  },
  '/goaway': (stream) => {
    answer(stream)
    setImmediate(() => stream.session?.close())
  },
  '/kill': (stream) => {
    setImmediate(() => stream.session?.destroy())
  },
}

/** The paths that it knows. */
export const rudePaths: readonly string[] = Object.keys(behaviours)

export function rudeBackend(): ReturnType<typeof createServer> {
  const server = createServer()
  server.on('sessionError', () => undefined)
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    stream.resume()
    behaviours[headers[':path'] ?? '/']?.(stream)
  })
  return server
}
