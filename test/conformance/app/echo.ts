// SPDX-License-Identifier: Apache-2.0
// The backend of the conformance suite: says who it is and what it saw, over HTTP/1.1, HTTP/2 without TLS, and gRPC. As a
// process: echo.ts HTTP-PORT H2-PORT, named by POD_NAME and POD_NAMESPACE.
import { createServer as createHttp, type IncomingMessage } from 'node:http'
import { createServer as createH2, type ServerHttp2Stream } from 'node:http2'
import type { Server } from 'node:net'
import { pathToFileURL } from 'node:url'

/** Who answered, and the request as it arrived. */
export interface Echo {
  readonly pod: string
  readonly namespace: string
  readonly protocol: string
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly host: string
  /** Names in lower case, repeated ones joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The servers of one backend. `seen` are the paths that arrived, in order. */
export interface Backend {
  readonly http: Server
  readonly h2: Server
  readonly seen: string[]
}

export function echoBackend(pod: string, namespace: string): Backend {
  const seen: string[] = []
  const tries = new Map<string, number>()
  const http = createHttp((request, response) => {
    const { method = '', url: path = '' } = request
    seen.push(path)
    const query = new URL(path, 'http://echo').searchParams
    void bodyOf(request).then((body) => {
      const host = request.headers.host ?? ''
      const headers = joined(request.headers)
      const echo: Echo = {
        ...{ pod, namespace, protocol: 'HTTP/1.1', method, path, host, headers, body },
      }
      const nth = (tries.get(query.get('uuid') ?? '') ?? 0) + 1
      tries.set(query.get('uuid') ?? '', nth)
      const fails = nth <= Number(query.get('succeedAfter') ?? 0)
      const waitMs =
        seconds(query.get('delay')) + (fails ? seconds(query.get('delayRetry')) : 0)
      setTimeout(() => {
        const code = Number(
          query.get('responseCode') ?? (fails && waitMs === 0 ? 0 : 200),
        )
        // Without a code it is the connection that fails.
        if (fails && code === 0) return void request.socket.resetAndDestroy()
        for (const [name, value] of asked(headers['x-echo-set-header']))
          response.appendHeader(name, value)
        response.writeHead(fails ? code : 200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(echo))
      }, waitMs)
    })
  })
  http.on('upgrade', (request, socket) => {
    seen.push(request.url ?? '')
    const accept =
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    socket.write(`${accept}${pod}\n`)
    socket.on('data', (data) => socket.write(data))
    socket.on('end', () => socket.end())
    socket.on('error', () => undefined)
  })
  const h2 = createH2()
  h2.on('stream', (stream, headers) => {
    const path = headers[':path'] ?? ''
    seen.push(path)
    const isGrpc = headers['content-type']?.startsWith('application/grpc') === true
    const echo: Echo = {
      ...{ pod, namespace, protocol: isGrpc ? 'grpc' : 'HTTP/2.0', path, body: '' },
      method: headers[':method'] ?? '',
      host: headers[':authority'] ?? '',
      headers: joined(headers),
    }
    stream.on('error', () => undefined)
    stream.resume()
    answer(stream, isGrpc, Buffer.from(JSON.stringify(echo)))
  })
  return { http, h2, seen }
}

function answer(stream: ServerHttp2Stream, isGrpc: boolean, json: Buffer): void {
  if (!isGrpc) {
    stream.respond({ ':status': 200, 'content-type': 'application/json' })
    stream.end(json)
    return
  }
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc' },
    { waitForTrailers: true },
  )
  stream.on('wantTrailers', () => {
    stream.sendTrailers({ 'grpc-status': '0' })
  })
  stream.end(grpcFrame(json))
}

/** A length-prefixed message (gRPC over HTTP/2), not compressed. */
export function grpcFrame(message: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request) body += String(chunk)
  return body
}

function joined(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !name.startsWith(':'))
      .map(([name, value]) => [
        name,
        Array.isArray(value) ? value.join(',') : String(value),
      ]),
  )
}

/** "name:value, name:value" of X-Echo-Set-Header: what the answer should carry. */
function asked(list = ''): [string, string][] {
  return list
    .split(',')
    .filter((each) => each.includes(':'))
    .map((each) => {
      const colon = each.indexOf(':')
      return [each.slice(0, colon).trim(), each.slice(colon + 1).trim()]
    })
}

/** Milliseconds of "1s" or "300ms". */
function seconds(text: string | null): number {
  if (text === null) return 0
  return text.endsWith('ms') ? parseFloat(text) : parseFloat(text) * 1000
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { http, h2 } = echoBackend(
    process.env['POD_NAME'] ?? 'unknown',
    process.env['POD_NAMESPACE'] ?? 'unknown',
  )
  http.listen(Number(process.argv[2]), '::')
  h2.listen(Number(process.argv[3]), '::')
}
