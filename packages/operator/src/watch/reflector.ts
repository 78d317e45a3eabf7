// SPDX-License-Identifier: Apache-2.0
// List and watch of one resource, for ever: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import { ApiError, errorOfEvent, type ApiClient, type WatchEvent } from './client.ts'
import { pathOf, type Resource } from './resources.ts'

/** An object as the server sends it; in lists the built-in kinds come without kind and apiVersion. */
export interface ServerObject {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly resourceVersion?: string
    readonly [field: string]: unknown
  }
  readonly [field: string]: unknown
}

export interface ReflectorSink {
  /** A list begins, maybe again: pages of one that broke off do not count. */
  listing(): void
  /** A page of a list. */
  page(objects: readonly ServerObject[]): void
  /** The list that the pages belong to is complete: what none of them named is gone. */
  listed(): void
  event(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: ServerObject): void
  /** `synced`, `error` or `connected` have changed. */
  onState(): void
}

export interface ReflectorLimits {
  readonly pageSize: number
  /** The longest wait between two attempts; the wait is random between 0 and a bound that doubles up to this. */
  readonly backoffMaxMs: number
  readonly backoffMinMs: number
  /** A watch that says nothing for so long, not even a bookmark (one a minute), is opened again. */
  readonly idleMs: number
}

/** Since the start; read by metrics. */
export interface ReflectorStats {
  lists: number
  events: number
  bookmarks: number
  /** Watches that were opened again, for whatever reason. */
  restarts: number
  /** Of these, because the version was too old (410 Gone). */
  expired: number
}

/** A stream that lived so long was no failure, however it ended. */
const healthyMs = 5_000

/** The server ends a watch after a time between this and twice this: not all of them at once. */
const watchSeconds = 300

export class Reflector {
  readonly resource: Resource
  readonly stats: ReflectorStats = {
    lists: 0,
    events: 0,
    bookmarks: 0,
    restarts: 0,
    expired: 0,
  }
  /** A whole list has been handed over. */
  synced = false
  /** Why there is no watch now; undefined while one is open. */
  error: ApiError | undefined
  readonly #client: ApiClient
  readonly #sink: ReflectorSink
  readonly #limits: ReflectorLimits
  readonly #closing = new AbortController()
  #version: string | undefined
  #failures = 0
  #heardAt = performance.now()
  #connected = false
  #wake: AbortController | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(
    client: ApiClient,
    resource: Resource,
    sink: ReflectorSink,
    limits: ReflectorLimits,
  ) {
    this.#client = client
    this.resource = resource
    this.#sink = sink
    this.#limits = limits
  }

  get connected(): boolean {
    return this.#connected
  }

  /** Milliseconds since the server last said something, by a clock that never jumps. */
  get silentMs(): number {
    return performance.now() - this.#heardAt
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Tries again now instead of after the backoff. */
  nudge(): void {
    this.#wake?.abort()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#wake?.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const before = performance.now()
      try {
        this.#version ??= await this.#list()
        await this.#watch(this.#version)
        if (performance.now() - before >= healthyMs) this.#failures = 0
        if (this.#failures > 0) await this.#wait(0)
        this.#failures++
      } catch (error) {
        if (this.#closing.signal.aborted) return
        await this.#failed(error)
      }
      this.stats.restarts++
    }
  }

  async #failed(error: unknown): Promise<void> {
    this.#connected = false
    this.error =
      error instanceof ApiError ? error : new ApiError(0, '', messageOf(error), 0)
    if (this.error.status === 410) {
      // Too old to go on from; the list says also what was deleted meanwhile.
      this.#version = undefined
      this.stats.expired++
    }
    this.#sink.onState()
    await this.#wait(this.error.retryAfterMs)
    this.#failures++
  }

  async #wait(atLeastMs: number): Promise<void> {
    const { backoffMinMs, backoffMaxMs } = this.#limits
    // 2^20 is beyond every bound; more would be infinite some day.
    const bound = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(this.#failures, 20))
    // A watch that was closed may look like one that the server ended.
    if (this.#closing.signal.aborted) return
    this.#wake = new AbortController()
    const ms = Math.min(atLeastMs, backoffMaxMs) + Math.random() * bound
    // Rejects when it is cut short, which is all the same here.
    await sleep(ms, undefined, { signal: this.#wake.signal }).catch(() => undefined)
    this.#wake = undefined
  }

  /** Hands every page over as it arrives, so that no more than one is in memory; returns the list's version. */
  async #list(): Promise<string> {
    this.stats.lists++
    let limit = this.#limits.pageSize
    let token = ''
    this.#sink.listing()
    for (;;) {
      const query: Record<string, string> = { ...this.#selectors() }
      if (limit > 0) query['limit'] = String(limit)
      if (token !== '') query['continue'] = token
      try {
        const page = await this.#client.request<{
          metadata: { resourceVersion: string; continue?: string }
          items: ServerObject[] | null
        }>({
          path: pathOf(this.resource),
          query,
          signal: this.#closing.signal,
          ...this.#accept('List'),
        })
        this.#closing.signal.throwIfAborted()
        this.#heardAt = performance.now()
        this.#sink.page(page.items ?? [])
        token = page.metadata.continue ?? ''
        if (token !== '') continue
        this.synced = true
        this.#sink.listed()
        return page.metadata.resourceVersion
      } catch (error) {
        const isExpired = error instanceof ApiError && error.status === 410
        if (!isExpired || token === '') throw error
        // The list took longer than the server keeps its history: in one piece then.
        limit = 0
        token = ''
        this.#sink.listing()
      }
    }
  }

  async #watch(version: string): Promise<void> {
    const seconds = Math.round(watchSeconds * (1 + Math.random()))
    const path = pathOf(this.resource)
    const events = this.#client.watch(
      {
        path,
        query: {
          ...this.#selectors(),
          watch: '1',
          allowWatchBookmarks: 'true',
          resourceVersion: version,
          timeoutSeconds: String(seconds),
        },
        idleMs: this.#limits.idleMs,
        signal: this.#closing.signal,
        ...this.#accept(''),
      },
      () => {
        this.#heardAt = performance.now()
        this.#connected = true
        this.error = undefined
        this.#sink.onState()
      },
    )
    for await (const event of events) {
      // What was read before the close is nobody's any more.
      if (this.#closing.signal.aborted) return
      this.#take(event, path)
    }
  }

  #take({ type, object }: WatchEvent, path: string): void {
    this.#heardAt = performance.now()
    if (type === 'ERROR') throw errorOfEvent(object, path)
    this.#failures = 0
    const seen = object as ServerObject
    if (type === 'BOOKMARK') this.stats.bookmarks++
    else {
      this.stats.events++
      this.#sink.event(type, seen)
    }
    this.#version = seen.metadata.resourceVersion ?? this.#version
  }

  #selectors(): Record<string, string> {
    const { fieldSelector, labelSelector } = this.resource
    return {
      ...(fieldSelector !== undefined && { fieldSelector }),
      ...(labelSelector !== undefined && { labelSelector }),
    }
  }

  #accept(suffix: 'List' | ''): { accept?: string } {
    if (this.resource.metadataOnly !== true) return {}
    const as = `application/json;as=PartialObjectMetadata${suffix};g=meta.k8s.io;v=v1`
    return { accept: `${as},application/json` }
  }
}
