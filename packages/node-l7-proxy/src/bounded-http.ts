// SPDX-License-Identifier: Apache-2.0
// What the proxy asks of others for itself (keys, the trace collector): one request, bounded in time and size, no
// redirects. Not undici: that is for the traffic of the mesh.
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'

export type BoundedRequest = {
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
  /** Until the last byte of the answer. */
  readonly timeoutMs: number
  /** Of the answer's body. */
  readonly maxBytes: number
}

export type BoundedAnswer = {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

/** Throws an Error that says what was asked and what went wrong. Name servers and connections are within the bound, too. */
export async function ask(url: string, options: BoundedRequest): Promise<BoundedAnswer> {
  const { method, headers, body, timeoutMs, maxBytes } = options
  const signal = AbortSignal.timeout(timeoutMs)
  const { promise, resolve, reject } = Promise.withResolvers<BoundedAnswer>()
  const fail = (reason: string, cause?: unknown): void => {
    reject(new Error(`${method} ${url}: ${reason}`, { cause }))
  }
  const send = url.startsWith('https:') ? requestHttps : requestHttp
  const request = send(url, { method, headers, signal, agent: false }, (response) => {
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxBytes) chunks.push(chunk)
      else {
        fail(`the answer is longer than ${maxBytes} bytes`)
        request.destroy()
      }
    })
    response.on('error', (error) => {
      fail(error.message, error)
    })
    response.on('end', () => {
      const { statusCode = 0 } = response
      resolve({
        status: statusCode,
        headers: response.headers,
        body: Buffer.concat(chunks),
      })
    })
  })
  request.on('error', (error) => {
    fail(signal.aborted ? `no answer within ${timeoutMs} ms` : error.message, error)
  })
  request.end(body)
  return promise
}
