// SPDX-License-Identifier: Apache-2.0
// Hands spans to the collector (OTLP over HTTP, protobuf) in batches. Telemetry never waits and never grows: what does not
// fit the queue is dropped and counted, and requests do not notice.
import { ask } from '../bounded-http.ts'
import { errnoOf } from '../errors.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { encodeSpans } from './otlp.ts'
import type { Attributes, Span } from './span.ts'

/** Limits of exporting. */
export const exportLimits = {
  /** Spans that wait, those on their way included. */
  queued: 4096,
  batch: 512,
  /** A span waits at most this long for others. */
  intervalMs: 1000,
  timeoutMs: 10_000,
  /** Tries of a batch, and the time between them: doubled each time, or as Retry-After says. */
  tries: 5,
  backoffMs: 1000,
  maxBackoffMs: 30_000,
} as const

/** OTLP: these may be tried again, everything else may not. */
const retryable = new Set([429, 502, 503, 504])

export class SpanExporter {
  readonly #metrics: Metrics
  readonly #resource: Attributes
  readonly #limits: typeof exportLimits
  #url = ''
  #queue: Span[] = []
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined
  #wake: (() => void) | undefined
  #closed = false
  /** Why the last try failed; '': it did not. */
  problem = ''

  constructor(
    metrics: Metrics,
    resource: Attributes,
    limits: typeof exportLimits = exportLimits,
  ) {
    this.#metrics = metrics
    this.#resource = resource
    this.#limits = limits
  }

  /** "http://host:4318", possibly with a path of its own; '': spans go nowhere. */
  set collector(address: string) {
    this.#url = address === '' ? '' : urlOf(address)
    if (this.#url === '') this.#queue = []
  }

  get isOn(): boolean {
    return this.#url !== '' && !this.#closed
  }

  add(span: Span): void {
    if (!this.isOn) return
    if (this.#queue.length >= this.#limits.queued) {
      this.#metrics.counters.spansDropped++
      return
    }
    this.#queue.push(span)
    this.#metrics.gauges.spansQueued = this.#queue.length
    if (this.#queue.length >= this.#limits.batch) void this.#flush()
    else this.#arm()
  }

  /** Sends what is left, once and for `boundMs` at most; what comes later is dropped. */
  async close(boundMs: number): Promise<void> {
    this.#closed = true
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#wake?.()
    const { promise: late, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(resolve, boundMs, undefined)
    await Promise.race([late, this.#flush()])
    clearTimeout(timer)
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#sending !== undefined) return
    this.#timer = setTimeout(() => {
      void this.#flush()
    }, this.#limits.intervalMs)
    this.#timer.unref()
  }

  /** One batch is on its way at a time: the collector sets the pace. */
  async #flush(): Promise<void> {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined
      if (this.#queue.length > 0 && !this.#closed) this.#arm()
    })
    await this.#sending
  }

  /** Until less than a batch waits; when closing, until nothing does. */
  async #drain(): Promise<void> {
    do {
      const batch = this.#queue.slice(0, this.#limits.batch)
      if (batch.length === 0) return
      const sent = await this.#send(batch)
      this.#queue.splice(0, batch.length)
      this.#metrics.gauges.spansQueued = this.#queue.length
      if (sent) this.#metrics.counters.spansExported += batch.length
      else this.#metrics.counters.spansDropped += batch.length
    } while (this.#closed || this.#queue.length >= this.#limits.batch)
  }

  async #send(batch: readonly Span[]): Promise<boolean> {
    const body = encodeSpans(this.#resource, batch, performance.timeOrigin)
    for (let tries = 1; ; tries++) {
      const waitMs = await this.#try(body, tries)
      if (waitMs === undefined) return this.problem === ''
      if (tries >= this.#limits.tries || this.#closed) return false
      await this.#pause(waitMs)
    }
  }

  /** How long to wait before the next try; undefined: there is none. */
  async #try(body: Uint8Array, tries: number): Promise<number | undefined> {
    const { backoffMs, maxBackoffMs, timeoutMs } = this.#limits
    const backoff = Math.min(maxBackoffMs, backoffMs * 2 ** (tries - 1))
    try {
      const { status, headers } = await ask(this.#url, {
        ...{ method: 'POST', body, timeoutMs, maxBytes: 65_536 },
        headers: { 'content-type': 'application/x-protobuf' },
      })
      this.problem = status === 200 ? '' : `${this.#url}: status ${status}`
      if (status === 200) return undefined
      this.#metrics.counters.spanExportFailures++
      if (!retryable.has(status)) return undefined
      const after = Number(headers['retry-after'])
      return after > 0 ? Math.min(maxBackoffMs, after * 1000) : backoff
    } catch (error) {
      this.#metrics.counters.spanExportFailures++
      this.problem = error instanceof Error ? error.message : String(errnoOf(error))
      return backoff
    }
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>()
    const wake = (): void => {
      resolve(undefined)
    }
    const timer = setTimeout(wake, ms)
    timer.unref()
    this.#wake = wake
    await promise
    clearTimeout(timer)
    this.#wake = undefined
  }
}

function urlOf(address: string): string {
  const url = new URL(address)
  if (url.pathname === '/') url.pathname = '/v1/traces'
  return url.href
}
