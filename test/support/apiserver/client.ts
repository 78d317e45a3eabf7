// SPDX-License-Identifier: Apache-2.0
// A client for tests that hides nothing: paths, status codes and bodies as they are on the wire.
import * as http from 'node:http'
import * as https from 'node:https'
import type { AccessTo } from './interface.ts'
import type { Json, KubeObject } from './types.ts'

/** One answer. */
export interface Reply {
  readonly code: number
  readonly body: Json
}

/** What a watch delivers. */
export interface WatchedEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  readonly object: KubeObject
}

/** How a request is sent. */
export interface Sending {
  readonly query?: Readonly<Record<string, string | number | boolean>>
  readonly contentType?: string
  readonly userAgent?: string
}

const timeoutMs = 10_000

/** An open watch: what has arrived, and a way to wait for more. */
export class Watcher {
  readonly events: WatchedEvent[] = []
  ended = false
  readonly #request: http.ClientRequest
  #wake: (() => void)[] = []

  constructor(request: http.ClientRequest, response: http.IncomingMessage) {
    this.#request = request
    let rest = ''
    response.setEncoding('utf8')
    response.on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines)
        if (line !== '') this.events.push(JSON.parse(line) as WatchedEvent)
      this.#notify()
    })
    response.on('error', () => undefined)
    response.on('close', () => {
      this.ended = true
      this.#notify()
    })
  }

  /** Waits until `found` holds for this watch. Throws after ten seconds, with what has arrived. */
  async until(found: (watcher: this) => boolean): Promise<this> {
    const deadline = Date.now() + timeoutMs
    while (!found(this)) {
      const left = deadline - Date.now()
      if (left <= 0)
        throw new Error(
          `not seen in ${timeoutMs} ms: ${found.toString()}; have ${this.summary().join(', ') || 'nothing'}`,
        )
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return this
  }

  /** The events as `TYPE name`. */
  summary(): string[] {
    return this.events.map(({ type, object }) =>
      `${type} ${object.metadata?.name ?? ''}`.trimEnd(),
    )
  }

  close(): void {
    this.#request.destroy()
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

/** Speaks to an API server as one user. */
export class Client {
  readonly #access: AccessTo
  readonly #agent: http.Agent
  readonly #watchers = new Set<Watcher>()

  constructor(access: AccessTo) {
    this.#access = access
    const { ca, cert, key } = access
    this.#agent =
      ca === undefined
        ? new http.Agent({ keepAlive: true })
        : new https.Agent({
            keepAlive: true,
            ca,
            ...(cert && { cert }),
            ...(key && { key }),
          })
  }

  get(path: string, query: Sending['query'] = {}): Promise<Reply> {
    return this.send('GET', path, undefined, { query })
  }

  create(path: string, object: object, sending: Sending = {}): Promise<Reply> {
    return this.send('POST', path, object, sending)
  }

  update(path: string, object: object, sending: Sending = {}): Promise<Reply> {
    return this.send('PUT', path, object, sending)
  }

  merge(path: string, patch: object, sending: Sending = {}): Promise<Reply> {
    const contentType = 'application/merge-patch+json'
    return this.send('PATCH', path, patch, { contentType, ...sending })
  }

  /** Server-side apply as `manager`. */
  apply(path: string, object: object, manager: string, force = false): Promise<Reply> {
    const query = { fieldManager: manager, force }
    return this.send('PATCH', path, object, {
      ...{ contentType: 'application/apply-patch+yaml', query },
    })
  }

  delete(path: string, options?: object, query: Sending['query'] = {}): Promise<Reply> {
    return this.send('DELETE', path, options, { query })
  }

  /** One request. Rejects when there is no answer within ten seconds. */
  send(
    method: string,
    path: string,
    body?: object,
    sending: Sending = {},
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const request = this.#open(method, path, sending, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const isJson = response.headers['content-type']?.includes('json') === true
          const parsed = (isJson ? JSON.parse(text) : { text }) as Json
          resolve({ code: response.statusCode ?? 0, body: parsed })
        })
      })
      request.setTimeout(timeoutMs, () =>
        request.destroy(new Error(`${method} ${path}: no answer in ${timeoutMs} ms`)),
      )
      request.on('error', reject)
      if (body === undefined) {
        request.end()
        return
      }
      const text = JSON.stringify(body)
      // Without a length node sends the body of a DELETE unframed.
      request.setHeader('content-length', Buffer.byteLength(text))
      request.end(text)
    })
  }

  /** Opens a watch. Rejects with the status if it is refused. */
  watch(path: string, query: NonNullable<Sending['query']> = {}): Promise<Watcher> {
    return new Promise((resolve, reject) => {
      const sending = { query: { watch: true, ...query } }
      const request = this.#open('GET', path, sending, (response) => {
        if (response.statusCode !== 200) {
          response.resume()
          reject(new Error(`watch ${path}: ${response.statusCode}`))
          return
        }
        const watcher = new Watcher(request, response)
        this.#watchers.add(watcher)
        resolve(watcher)
      })
      request.on('error', reject)
      request.end()
    })
  }

  /** Closes all connections. */
  close(): void {
    for (const watcher of this.#watchers) watcher.close()
    this.#agent.destroy()
  }

  #open(
    method: string,
    path: string,
    sending: Sending,
    onResponse: (response: http.IncomingMessage) => void,
  ): http.ClientRequest {
    const url = new URL(path, this.#access.url)
    for (const [name, value] of Object.entries(sending.query ?? {}))
      url.searchParams.set(name, String(value))
    const { token } = this.#access
    const headers = {
      accept: 'application/json',
      'content-type': sending.contentType ?? 'application/json',
      'user-agent': sending.userAgent ?? 'test/1.0',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    }
    const options = { method, headers, agent: this.#agent }
    const { request } = this.#access.ca === undefined ? http : https
    return request(url, options, onResponse)
  }
}
