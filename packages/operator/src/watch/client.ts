// SPDX-License-Identifier: Apache-2.0
// HTTP to a kube-apiserver: addresses, certificates and tokens as @kubernetes/client-node finds them (kubeconfig, service
// account, exec plugins), requests by node:https.
//
// Not that library's own requests and watch: they know no idle time-out, hide Retry-After and buffer whole lists.
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https'
import { createInterface } from 'node:readline'
import type { KubeConfig } from '@kubernetes/client-node'
import { messageOf } from '../errors.ts'

/** Limits of requests. */
export const clientLimits = {
  /** Without a byte for so long a request has failed; watches have a limit of their own. */
  idleMs: 30_000,
  /** A page of 500 large objects stays far below; what is larger is refused, not buffered. */
  maxBodyBytes: 256 * 1024 * 1024,
} as const

/** An answer that is no success, or (status 0) none at all. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** HTTP status; 0: the server was not reached, or the connection broke. */
  readonly status: number
  /** `reason` of the Status object: "Forbidden", "Expired"; '' when there is none. */
  readonly reason: string
  /** What Retry-After asks for; 0: nothing. */
  readonly retryAfterMs: number

  constructor(
    status: number,
    reason: string,
    message: string,
    retryAfterMs = 0,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.status = status
    this.reason = reason
    this.retryAfterMs = retryAfterMs
  }
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** Of the body; `application/json` unless said. */
  readonly contentType?: string
  readonly accept?: string
  readonly signal?: AbortSignal
  readonly idleMs?: number
}

/** One line of a watch. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  readonly object: Readonly<Record<string, unknown>>
}

interface StatusObject {
  readonly message?: string
  readonly reason?: string
  readonly code?: number
  readonly details?: { readonly retryAfterSeconds?: number }
}

export class ApiClient {
  readonly #config: KubeConfig
  #agent: { readonly key: string; readonly agent: Agent } | undefined

  constructor(config: KubeConfig) {
    this.#config = config
  }

  /** The server's URL, for messages. */
  get server(): string {
    return this.#config.getCurrentCluster()?.server ?? ''
  }

  /** The answer's JSON. Throws an ApiError, or the signal's reason. */
  async request<T>(request: ApiRequest): Promise<T> {
    const response = await this.#send(request)
    try {
      return JSON.parse(await textOf(response)) as T
    } catch (error) {
      throw broken(request, error)
    }
  }

  /** The answer as it is: logs are no JSON. Throws as `request` does. */
  async text(request: ApiRequest): Promise<string> {
    const response = await this.#send({ accept: '*/*', ...request })
    try {
      return await textOf(response)
    } catch (error) {
      throw broken(request, error)
    }
  }

  /**
   * The events of a watch until the server ends it. `idleMs` without a byte is an error: a half-open connection looks like a
   * quiet cluster, but a quiet cluster has bookmarks.
   */
  async *watch(request: ApiRequest, onOpen?: () => void): AsyncGenerator<WatchEvent> {
    const response = await this.#send(request)
    onOpen?.()
    const lines = createInterface({ input: response, crlfDelay: Infinity })
    // readline does not pass on errors of its input: ending early is how it shows them.
    let failure: unknown
    response.on('error', (error) => {
      failure = error
      lines.close()
    })
    try {
      for await (const line of lines) {
        if (line !== '') yield JSON.parse(line) as WatchEvent
      }
      if (failure !== undefined) throw broken(request, failure)
    } catch (error) {
      throw error instanceof ApiError ? error : broken(request, error)
    } finally {
      lines.close()
      response.destroy()
    }
  }

  close(): void {
    this.#agent?.agent.destroy()
  }

  async #send(request: ApiRequest): Promise<IncomingMessage> {
    const { method = 'GET', body, idleMs = clientLimits.idleMs, signal } = request
    const url = new URL(`${this.server.replace(/\/$/, '')}${request.path}`)
    for (const [name, value] of Object.entries(request.query ?? {}))
      url.searchParams.set(name, value)
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const options = await this.#options(request, payload, url.protocol === 'https:')
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const send = url.protocol === 'https:' ? httpsRequest : httpRequest
      const sent = send(url, { ...options, method, signal }, resolve)
      sent.setTimeout(idleMs, () =>
        sent.destroy(new Error(`nothing was heard for ${idleMs} ms`)),
      )
      sent.on('error', (error) => reject(broken(request, error)))
      sent.end(payload)
    })
    const status = response.statusCode ?? 0
    if (status >= 200 && status < 300) return response
    throw refusal(
      request,
      status,
      response.headers['retry-after'],
      await textOf(response),
    )
  }

  async #options(
    { accept = 'application/json', contentType = 'application/json' }: ApiRequest,
    payload: string | undefined,
    isTls: boolean,
  ): Promise<RequestOptions> {
    const options: RequestOptions = { headers: {} }
    // Asked for each time: tokens rotate, exec plugins answer with a new certificate.
    await this.#config.applyToHTTPSOptions(options)
    const headers = {
      ...options.headers,
      accept,
      'user-agent': 'pillion-operator',
      ...(payload !== undefined && {
        'content-type': contentType,
        'content-length': Buffer.byteLength(payload),
      }),
    }
    const auth = options.auth === undefined ? {} : { auth: options.auth }
    const made = options.agent
    if (!isTls) return { headers, ...auth }
    // The library makes an agent for each call; one that lives keeps connections.
    if (!(made instanceof Agent)) return { headers, ...auth, agent: made }
    const { ca, cert, key, passphrase, servername, rejectUnauthorized } = made.options
    const identity = { ca, cert, key, passphrase, servername, rejectUnauthorized }
    const agentKey = JSON.stringify(identity)
    if (this.#agent?.key !== agentKey || this.#config.getCurrentCluster()?.proxyUrl) {
      const proxied = this.#config.getCurrentCluster()?.proxyUrl !== undefined
      const agent = proxied ? made : new Agent({ ...made.options, keepAlive: true })
      this.#agent = { key: agentKey, agent }
    }
    return { headers, ...auth, agent: this.#agent.agent }
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > clientLimits.maxBodyBytes)
      throw new RangeError(`more than ${clientLimits.maxBodyBytes} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

function broken({ method = 'GET', path }: ApiRequest, error: unknown): ApiError {
  return new ApiError(0, '', `${method} ${path}: ${messageOf(error)}`, 0, {
    cause: error,
  })
}

function refusal(
  { method = 'GET', path }: ApiRequest,
  status: number,
  retryAfter: string | undefined,
  text: string,
): ApiError {
  let said: StatusObject = {}
  try {
    said = JSON.parse(text) as StatusObject
  } catch {
    // A load balancer's page: its status says enough.
  }
  const message = `${method} ${path}: ${status} ${said.message ?? ''}`.trimEnd()
  const seconds = Number(retryAfter ?? said.details?.retryAfterSeconds ?? 0)
  return new ApiError(status, said.reason ?? '', message, (seconds || 0) * 1000)
}

/** What a watch's ERROR event says. */
export function errorOfEvent(object: WatchEvent['object'], path: string): ApiError {
  const { code = 0, reason = '', message = '' } = object as StatusObject
  return new ApiError(code, reason, `WATCH ${path}: ${code} ${message}`)
}
