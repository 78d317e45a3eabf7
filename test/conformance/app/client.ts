// SPDX-License-Identifier: Apache-2.0
// The client of the conformance suite. As a process: client.ts JSON, where JSON is a list of Asks; prints the Replies.
import http from 'node:http'
import http2 from 'node:http2'
import { pathToFileURL } from 'node:url'
import { type Echo, grpcFrame } from './echo.ts'

/** A request, and where it goes. */
export interface Ask {
  /** Name or address to connect to. */
  readonly to: string
  readonly port: number
  readonly protocol: 'http' | 'h2c' | 'grpc'
  readonly method: string
  readonly path: string
  /** Host field or :authority. */
  readonly host: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

export interface Reply {
  readonly status: number
  readonly grpcStatus: number | undefined
  readonly headers: Readonly<Record<string, string>>
  /** undefined: the proxy answered itself. */
  readonly echo: Echo | undefined
  readonly text: string
}

export function ask(request: Ask): Promise<Reply> {
  return request.protocol === 'http' ? askHttp1(request) : askHttp2(request)
}

function askHttp1({ to, port, method, path, host, headers, body }: Ask): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const fields = { ...headers, host }
  const options = { host: to, port, method, path, headers: fields, agent: false }
  const request = http.request(options, (response) => {
    let text = ''
    response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    response.on('error', reject)
    response.on('end', () => {
      resolve(replyOf(response.statusCode ?? 0, response.headers, undefined, text))
    })
  })
  request.on('error', reject)
  request.end(body)
  return promise
}

function askHttp2({
  to,
  port,
  protocol,
  method,
  path,
  host,
  headers,
}: Ask): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const session = http2.connect(`http://${to}:${port}`)
  session.on('error', reject)
  const isGrpc = protocol === 'grpc'
  const stream = session.request({
    ...headers,
    ':authority': host,
    ':method': isGrpc ? 'POST' : method,
    ':path': path,
    ...(isGrpc && { 'content-type': 'application/grpc', te: 'trailers' }),
  })
  const chunks: Buffer[] = []
  let head: http2.IncomingHttpHeaders = {}
  let trailers: http2.IncomingHttpHeaders = {}
  stream.on('response', (fields) => (head = fields))
  stream.on('trailers', (fields) => (trailers = fields))
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('error', reject)
  stream.on('close', () => {
    session.close()
    const all = Buffer.concat(chunks)
    const text = (isGrpc ? all.subarray(5) : all).toString()
    const said = trailers['grpc-status'] ?? head['grpc-status']
    const grpcStatus = said === undefined ? undefined : Number(said)
    resolve(replyOf(Number(head[':status'] ?? 0), head, grpcStatus, text))
  })
  stream.end(isGrpc ? grpcFrame(Buffer.alloc(0)) : undefined)
  return promise
}

function replyOf(
  status: number,
  fields: Readonly<Record<string, unknown>>,
  grpcStatus: number | undefined,
  text: string,
): Reply {
  const headers = Object.fromEntries(
    Object.entries(fields)
      .filter(([name, value]) => !name.startsWith(':') && value !== undefined)
      .map(([name, value]) => [
        name,
        Array.isArray(value) ? value.join(',') : String(value),
      ]),
  )
  const echo = text.startsWith('{"pod"') ? (JSON.parse(text) as Echo) : undefined
  return { status, grpcStatus, headers, echo, text }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const asks = JSON.parse(process.argv[2] ?? '[]') as Ask[]
  const replies: Reply[] = []
  for (const each of asks) replies.push(await ask(each))
  process.stdout.write(JSON.stringify(replies))
}
