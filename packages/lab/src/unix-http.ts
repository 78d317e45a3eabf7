// SPDX-License-Identifier: Apache-2.0
// HTTP over UNIX sockets: how the lab, the command line and the processes' admin endpoints talk.
import { request, type IncomingMessage } from 'node:http'
import { errnoOf, LabError } from './errors.ts'

const maxBodyBytes = 256 * 1024 * 1024

export interface UnixRequest {
  readonly socket: string
  readonly path: string
  readonly method?: 'GET' | 'POST'
  readonly body?: unknown
  readonly timeoutMs?: number
}

export interface UnixResponse {
  readonly status: number
  readonly text: string
}

/** One request. Throws a LabError `not-running` when nobody listens, `timeout` when nobody answers. */
export function unixRequest(options: UnixRequest): Promise<UnixResponse> {
  const { timeoutMs = 5000 } = options
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(describeFailure(error, options))
    const req = open(options, (res) => {
      let text = ''
      res.setEncoding('utf8')
      res.on('data', (chunk: string) => {
        text += chunk
        if (text.length > maxBodyBytes) req.destroy(new Error('the answer is too large'))
      })
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text }))
      res.on('error', fail)
    })
    req.setTimeout(timeoutMs, () => {
      req.destroy(
        new LabError('timeout', `${options.socket} did not answer in ${timeoutMs} ms`),
      )
    })
    req.on('error', fail)
  })
}

/** Lines of an answer without end, until `signal` aborts or the other side closes. */
export async function unixLines(
  options: UnixRequest,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const req = open(options, (res) => {
      if (res.statusCode !== 200) {
        res.destroy()
        reject(new LabError('host', `${options.path}: HTTP ${res.statusCode}`))
        return
      }
      let pending = ''
      res.setEncoding('utf8')
      res.on('data', (chunk: string) => {
        const lines = (pending + chunk).split('\n')
        pending = lines.pop() ?? ''
        for (const line of lines) if (line !== '') onLine(line)
      })
      res.on('close', resolve)
      res.on('error', () => resolve())
    })
    req.on('error', (error) => {
      if (signal.aborted) resolve()
      else reject(describeFailure(error, options))
    })
    signal.addEventListener('abort', () => req.destroy(), { once: true })
  })
}

function open(options: UnixRequest, onResponse: (res: IncomingMessage) => void) {
  const body = options.body === undefined ? undefined : JSON.stringify(options.body)
  const req = request(
    {
      socketPath: options.socket,
      path: options.path,
      method: options.method ?? 'GET',
      headers: {
        host: 'localhost',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
    },
    onResponse,
  )
  req.end(body)
  return req
}

function describeFailure(error: Error, { socket }: UnixRequest): LabError {
  if (error instanceof LabError) return error
  const errno = errnoOf(error)
  if (errno === 'ENOENT' || errno === 'ECONNREFUSED') {
    return new LabError('not-running', `nothing listens on ${socket}`, { cause: error })
  }
  return new LabError('host', `${socket}: ${error.message}`, { cause: error })
}

/** JSON of a GET that answers 200; undefined when nobody listens or the answer is another. For polling. */
export async function pollJson(
  socket: string,
  path: string,
  timeoutMs = 2000,
): Promise<unknown> {
  try {
    const { status, text } = await unixRequest({ socket, path, timeoutMs })
    return status === 200 ? (JSON.parse(text) as unknown) : undefined
  } catch {
    return undefined
  }
}
