// SPDX-License-Identifier: Apache-2.0
// Watches: each has a cursor into the history of the store, so a slow reader costs nothing but may be overtaken by
// compaction, and then gets 410 as on the real server.
import type { ServerResponse } from 'node:http'
import { ApiError, badRequest, expired } from './errors.ts'
import { parseRevision, tooLarge } from './list.ts'
import type { Matcher } from './selectors.ts'
import type { Change, Store } from './store.ts'
import { apiVersionOf, collectionOf, type Json, type Resource } from './types.ts'
import type { KubeObject } from './types.ts'
import { inVersion } from './writes.ts'

/** Test knobs that all watches obey. */
export interface WatchKnobs {
  /** Pause before each event, ms. */
  slowMs: number
  paused: boolean
  /** Interval of bookmarks, ms; the real server sends one about every minute. */
  readonly bookmarkMs: number
}

/** What a watch was asked for. */
export interface WatchRequest {
  readonly resource: Resource
  readonly query: URLSearchParams
  readonly matches: Matcher
}

interface WatchEvent {
  readonly type: string
  readonly object: Json
}

const isTrue = (value: string | null): boolean => value === 'true' || value === '1'

/** One open watch. */
export class Watch {
  readonly #store: Store
  readonly #request: WatchRequest
  readonly #response: ServerResponse
  readonly #knobs: WatchKnobs
  readonly #bookmarks: boolean
  readonly #timers: NodeJS.Timeout[] = []
  readonly #unsubscribe: () => void
  /** Everything up to here was looked at. */
  #cursor: number
  #pumping = false
  #ended = false
  readonly #collection: string

  /** Answers the request and keeps the response open. Throws what is refused before the first byte. */
  constructor(
    store: Store,
    request: WatchRequest,
    response: ServerResponse,
    knobs: WatchKnobs,
  ) {
    const { query } = request
    this.#store = store
    this.#request = request
    this.#response = response
    this.#knobs = knobs
    this.#bookmarks = isTrue(query.get('allowWatchBookmarks'))
    this.#collection = collectionOf(request.resource)
    const from = parseRevision(query.get('resourceVersion')) ?? 0
    const initial = initialEvents(query)
    if (initial && from > store.revision) throw tooLarge(from, store.revision)
    this.#cursor = from === 0 || initial ? store.revision : from
    const first = from === 0 || initial ? (store.list(this.#collection) ?? []) : []
    response.writeHead(200, {
      'content-type': 'application/json',
      'cache-control': 'no-cache, private',
    })
    response.flushHeaders()
    if (initial !== false)
      for (const [, object] of first)
        if (request.matches(object))
          this.#send({ type: 'ADDED', object: this.#out(object) })
    if (initial === true) this.bookmark({ 'k8s.io/initial-events-end': 'true' })
    this.#startTimers(Number(query.get('timeoutSeconds') ?? 0))
    this.#unsubscribe = store.subscribe(() => this.pump())
    response.on('close', () => this.#stop())
    this.pump()
  }

  get isOpen(): boolean {
    return !this.#ended
  }

  get resource(): Resource {
    return this.#request.resource
  }

  /** Sends what has happened since the cursor. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    void this.#drain().finally(() => {
      this.#pumping = false
      // Changes of the same turn, after the last look and before this: nobody else would send them.
      if (!this.#ended && !this.#knobs.paused && this.#cursor < this.#store.revision)
        this.pump()
    })
  }

  /** Tells the client how far it is, if it wants to know. */
  bookmark(annotations?: Record<string, string>): void {
    if (!this.#bookmarks || this.#ended) return
    const { kind, group, version } = this.#request.resource
    const metadata: Json = {
      resourceVersion: String(this.#cursor),
      creationTimestamp: null,
    }
    if (annotations !== undefined) metadata['annotations'] = annotations
    const object = { kind, apiVersion: apiVersionOf(group, version), metadata }
    this.#send({ type: 'BOOKMARK', object })
  }

  /** Ends the stream as after its time-out. */
  end(): void {
    this.#stop()
    this.#response.end()
  }

  /** Cuts the connection. */
  cut(): void {
    this.#stop()
    this.#response.destroy()
  }

  async #drain(): Promise<void> {
    for (;;) {
      if (this.#ended || this.#knobs.paused || this.#cursor >= this.#store.revision)
        return
      if (this.#cursor < this.#store.compacted) {
        const message = `too old resource version: ${this.#cursor} (${this.#store.compacted + 1})`
        this.#send({ type: 'ERROR', object: expired(message).status() })
        this.end()
        return
      }
      const change = this.#store.next(this.#cursor)
      if (change === undefined) return
      const event = this.#eventOf(change)
      if (event !== undefined) {
        if (this.#knobs.slowMs > 0) await this.#wait(this.#knobs.slowMs)
        if (this.#ended || this.#knobs.paused) return
        if (!this.#send(event)) await this.#drained()
      }
      this.#cursor = change.revision
    }
  }

  /** Entering the selection is ADDED, leaving it DELETED, whatever happened to the object. */
  #eventOf(change: Change): WatchEvent | undefined {
    if (change.collection !== this.#collection) return undefined
    const { matches } = this.#request
    const was = change.previous !== undefined && matches(change.previous)
    const is = change.type !== 'DELETED' && matches(change.object)
    if (!was && !is) return undefined
    if (is) return { type: was ? 'MODIFIED' : 'ADDED', object: this.#out(change.object) }
    const last = change.previous ?? change.object
    const metadata = { ...last.metadata, resourceVersion: String(change.revision) }
    return { type: 'DELETED', object: this.#out({ ...last, metadata }) }
  }

  #out(object: KubeObject): Json {
    return inVersion(this.#request.resource, object)
  }

  #send(event: WatchEvent): boolean {
    return this.#response.write(JSON.stringify(event) + '\n')
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#response.once('drain', resolve)
      this.#response.once('close', resolve)
    })
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timers.push(setTimeout(resolve, ms).unref())
    })
  }

  #startTimers(timeoutSeconds: number): void {
    if (timeoutSeconds > 0)
      this.#timers.push(setTimeout(() => this.end(), timeoutSeconds * 1000).unref())
    const send = (): void => {
      if (!this.#knobs.paused && !this.#pumping) this.bookmark()
    }
    this.#timers.push(setInterval(send, this.#knobs.bookmarkMs).unref())
  }

  #stop(): void {
    this.#ended = true
    this.#unsubscribe?.()
    for (const timer of this.#timers) clearTimeout(timer)
  }
}

/** Whether existing objects come first: asked for, forbidden, or as the revision decides. */
function initialEvents(query: URLSearchParams): boolean | undefined {
  const asked = query.get('sendInitialEvents')
  if (asked === null) {
    if (query.get('resourceVersionMatch') !== null)
      throw badRequest(
        'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      )
    return undefined
  }
  if (query.get('resourceVersionMatch') !== 'NotOlderThan')
    throw new ApiError(
      ...([422, 'Invalid'] as const),
      'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    )
  return isTrue(asked)
}
