// SPDX-License-Identifier: Apache-2.0
// The debug endpoint: a table from path to what the agent itself uses, over a UNIX socket and loopback.
import { chmodSync, rmSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { AgentError, messageOf } from './errors.ts'
import { toJson } from './dump.ts'
import type { Follower, FlowLog } from './flows.ts'

/** An answer; `json` is written with readable addresses. */
export type Answer =
  { readonly json: unknown } | { readonly text: string; readonly status?: number }

export type Handler = (query: URLSearchParams) => Answer | Promise<Answer>

export interface DebugOptions {
  readonly handlers: Readonly<Record<string, Handler>>
  readonly flows: FlowLog
  readonly adminSocket: string
  /** 0: not served. */
  readonly debugPort: number
  /** /metrics alone, on all addresses: the rest is not for the network. 0: not served. */
  readonly metricsPort: number
  readonly onError: (message: string) => void
}

/** A follower that has this much unread loses lines. */
const maxUnreadBytes = 1024 * 1024
const requestTimeoutMs = 10_000

export class DebugServer {
  readonly #options: DebugOptions
  readonly #servers: Server[] = []

  constructor(options: DebugOptions) {
    this.#options = options
  }

  /** Throws when the UNIX socket cannot be made. A taken port is only reported: the node must not go without an agent. */
  async listen(): Promise<void> {
    const { adminSocket, debugPort, metricsPort } = this.#options
    // A socket of an agent that died; one that lives was refused by the datapath's owner record.
    rmSync(adminSocket, { force: true })
    await this.#start((server) => server.listen(adminSocket))
    chmodSync(adminSocket, 0o600)
    if (debugPort !== 0) await this.#tryPort(debugPort, '127.0.0.1')
    if (metricsPort !== 0) await this.#tryPort(metricsPort, '::', ['/metrics'])
  }

  async #tryPort(port: number, host: string, only?: readonly string[]): Promise<void> {
    try {
      await this.#start((server) => server.listen(port, host), only)
    } catch (error) {
      this.#options.onError(`${host}:${port} is not served: ${messageOf(error)}`)
    }
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => {
              resolve()
            })
            server.closeAllConnections()
          }),
      ),
    )
  }

  /** `only`: paths that exist; absent: all. */
  #start(listen: (server: Server) => void, only?: readonly string[]): Promise<void> {
    const server = createServer({ requestTimeout: requestTimeoutMs }, (req, res) => {
      this.#handle(req, res, only).catch((error: unknown) => {
        answerError(res, error)
      })
    })
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.once('listening', () => {
        server.removeListener('error', reject)
        server.on('error', (error) => {
          this.#options.onError(messageOf(error))
        })
        this.#servers.push(server)
        resolve()
      })
      listen(server)
    })
  }

  async #handle(
    req: IncomingMessage,
    res: ServerResponse,
    only?: readonly string[],
  ): Promise<void> {
    const url = new URL(req.url ?? '/', 'http://agent')
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      answer(res, 405, 'only GET\n')
      return
    }
    if (only?.includes(url.pathname) === false) {
      answer(res, 404, `${only.join('\n')}\n`)
      return
    }
    if (url.pathname === '/debug/flows') {
      this.#flows(url.searchParams, res)
      return
    }
    const handler = this.#options.handlers[url.pathname]
    if (handler === undefined) {
      const paths = [...Object.keys(this.#options.handlers), '/debug/flows'].sort()
      const status = url.pathname === '/' ? 200 : 404
      answer(res, status, `${paths.join('\n')}\n`)
      return
    }
    const result = await handler(url.searchParams)
    if ('json' in result) answer(res, 200, `${toJson(result.json)}\n`, 'application/json')
    else answer(res, result.status ?? 200, result.text)
  }

  /** What is remembered, or with follow=1 what comes from now on; ?last=N: that many of the past first. */
  #flows(query: URLSearchParams, res: ServerResponse): void {
    const { flows } = this.#options
    const follows = query.get('follow') === '1'
    const last = query.get('last')
    const count = last === null ? (follows ? 0 : undefined) : Number(last)
    if (count !== undefined && !(Number.isInteger(count) && count >= 0)) {
      throw new AgentError('QUESTION', `last=${last ?? ''} is not a whole number`)
    }
    const past = flows.last(count).map((flow) => `${JSON.stringify(flow)}\n`)
    const follower: Follower = (line) => {
      if (res.writableLength > maxUnreadBytes) return false
      res.write(line)
      return true
    }
    if (follows && !flows.follow(follower)) {
      answer(res, 503, 'too many followers\n')
      return
    }
    res.writeHead(200, { 'content-type': 'application/x-ndjson' })
    if (!follows) {
      res.end(past.join(''))
      return
    }
    res.flushHeaders()
    if (past.length > 0) res.write(past.join(''))
    res.on('close', () => {
      flows.unfollow(follower)
    })
  }
}

function answer(
  res: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  res.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
  })
  res.end(text)
}

function answerError(res: ServerResponse, error: unknown): void {
  if (res.headersSent) {
    res.destroy()
    return
  }
  const asked = error instanceof AgentError && error.code === 'QUESTION'
  const text = `${JSON.stringify({ error: messageOf(error) })}\n`
  answer(res, asked ? 400 : 500, text, 'application/json')
}
