// SPDX-License-Identifier: Apache-2.0
// HTTP/2 (and so gRPC) to an endpoint, over node:http2 with prior knowledge.
import { type ClientHttp2Stream, constants } from 'node:http2'
import type { Readable } from 'node:stream'
import { fromRaw, type Headers, listBytes } from '../headers.ts'
import { toTrailers } from '../grpc/trailers.ts'
import { classify } from './failure.ts'
import { Http2Session, type Waiting } from './http2-session.ts'
import type { UpstreamSettings } from './pool.ts'
import type {
  Upstream,
  UpstreamCall,
  UpstreamEvents,
  UpstreamFailure,
  UpstreamRequest,
} from './upstream.ts'
import { faultOfHead, faultOfInformational, faultOfSize } from './validity.ts'

/** One connection carries a hundred streams; more of them only when the peer's limit is reached. */
const sessionsMax = 8

export class Http2Upstream implements Upstream {
  readonly #settings: UpstreamSettings
  #sessions: Http2Session[] = []
  active = 0
  lastUsedMs = 0

  constructor(settings: UpstreamSettings) {
    this.#settings = settings
  }

  start(request: UpstreamRequest, events: UpstreamEvents): UpstreamCall {
    this.active++
    this.lastUsedMs = performance.now()
    return new Http2Call(this, this.#settings, this.#pick(), request, events)
  }

  close(): void {
    for (const session of this.#sessions) session.drain()
  }

  #pick(): Http2Session {
    let best: Http2Session | undefined
    let usable = 0
    for (const session of this.#sessions) {
      if (session.isAged) session.drain()
      if (session.usable) usable++
      if (session.usable && (best === undefined || session.load < best.load))
        best = session
    }
    if (best !== undefined && (best.load < best.limit || usable >= sessionsMax))
      return best
    const session = new Http2Session(this.#settings, (closed) => {
      this.#sessions = this.#sessions.filter((each) => each !== closed)
    })
    this.#sessions.push(session)
    return session
  }
}

class Http2Call implements UpstreamCall, Waiting {
  readonly #upstream: Http2Upstream
  readonly #settings: UpstreamSettings
  readonly #request: UpstreamRequest
  readonly #events: UpstreamEvents
  #stream: ClientHttp2Stream | undefined
  #body: Readable | undefined
  #trailers: Headers | undefined
  #informational = 0
  #headSeen = false
  #endSeen = false
  #over = false
  /** Of the answer's body. */
  bytes = 0

  constructor(
    upstream: Http2Upstream,
    settings: UpstreamSettings,
    session: Http2Session,
    request: UpstreamRequest,
    events: UpstreamEvents,
  ) {
    this.#upstream = upstream
    this.#settings = settings
    this.#request = request
    this.#events = events
    session.enter(this)
  }

  get held(): number {
    return this.#stream?.readableLength ?? 0
  }

  pause(): void {
    this.#stream?.pause()
  }

  resume(): void {
    this.#stream?.resume()
  }

  cancel(): void {
    if (!this.#finish()) return
    this.#reset(constants.NGHTTP2_CANCEL)
  }

  onReady(session: Http2Session): void {
    if (this.#over) return
    this.#events.onConnection()
    if (this.#over) return
    const { body } = this.#request
    let stream
    try {
      stream = session.open(requestHead(this.#request), body === undefined, this)
    } catch (error) {
      this.onFailure({
        kind: 'protocol',
        detail: `${this.#settings.label}: ${String(error)}`,
        cause: error,
      })
      return
    }
    if (stream === undefined) {
      this.onFailure({
        kind: 'refused',
        detail: `${this.#settings.label}: the connection is closing`,
      })
      return
    }
    this.#stream = stream
    this.#listen(stream)
    if (body !== undefined) this.#send(stream, body.open())
  }

  onFailure(failure: UpstreamFailure): void {
    if (!this.#finish()) return
    this.#body?.destroy()
    this.#events.onFailure(failure)
  }

  #refuse(fault: UpstreamFailure): void {
    this.onFailure(fault)
    this.#reset(constants.NGHTTP2_PROTOCOL_ERROR)
  }

  #listen(stream: ClientHttp2Stream): void {
    stream.on('headers', (_headers, _flags, raw: string[]) => {
      if (this.#over) return
      const [status, headers] = splitStatus(raw)
      const fault = faultOfInformational(status, ++this.#informational, this.#settings)
      if (fault !== undefined) this.#refuse(fault)
      else this.#events.onInformational(status, headers)
    })
    stream.on('response', (_headers, flags, raw: string[]) => {
      if (this.#over) return
      this.#headSeen = true
      const ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
      const [status, headers] = splitStatus(raw)
      const fault =
        faultOfSize(listBytes(raw), this.#settings) ??
        faultOfHead(status, headers, this.#settings)
      if (fault !== undefined) {
        this.#refuse(fault)
        return
      }
      if (ended && !this.#finish()) return
      this.#events.onHead(status, headers, ended)
    })
    stream.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length
      if (!this.#over) this.#events.onData(chunk)
    })
    stream.on('trailers', (_headers, _flags, raw: string[]) => {
      this.#trailers = fromRaw(raw)
    })
    stream.on('end', () => {
      this.#endSeen = true
      const good = this.#headSeen && stream.rstCode === constants.NGHTTP2_NO_ERROR
      if (good && this.#finish()) this.#events.onEnd(this.#trailers)
      this.#bury(stream)
    })
    stream.on('aborted', () => {
      this.#bury(stream)
    })
    stream.on('error', (error) => {
      this.#fail(stream, error)
    })
    stream.on('close', () => {
      this.#fail(stream, undefined)
    })
  }

  #send(stream: ClientHttp2Stream, body: Readable): void {
    this.#body = body
    body.on('data', (chunk: Buffer) => {
      if (!stream.destroyed && !stream.write(chunk)) body.pause()
    })
    body.on('end', () => {
      if (!stream.destroyed) stream.end()
    })
    body.on('error', () => {
      this.#reset(constants.NGHTTP2_CANCEL)
    })
    stream.on('drain', () => {
      body.resume()
    })
    stream.on('wantTrailers', () => {
      if (!stream.destroyed) stream.sendTrailers(toTrailers(this.#request.body?.trailers))
    })
    stream.on('close', () => {
      body.destroy()
    })
  }

  #fail(stream: ClientHttp2Stream, error: unknown): void {
    if (this.#over) return
    const { rstCode } = stream
    if (rstCode === constants.NGHTTP2_REFUSED_STREAM && !this.#headSeen) {
      this.onFailure({
        kind: 'refused',
        detail: `${this.#settings.label}: REFUSED_STREAM`,
        cause: error,
      })
      return
    }
    const reason = this.#endSeen
      ? 'ended without a head'
      : `reset with code ${rstCode ?? 'none'}`
    const failure = classify(error ?? new Error(reason), this.#settings.label)
    this.onFailure(
      rstCode === constants.NGHTTP2_PROTOCOL_ERROR
        ? { ...failure, kind: 'protocol' }
        : failure,
    )
  }

  /** Deferred, because a cancel often comes from inside one of the session's own callbacks (reliability.md 0.1). */
  #reset(code: number): void {
    const stream = this.#stream
    this.#body?.destroy()
    if (stream === undefined) return
    setImmediate(() => {
      if (!stream.destroyed) stream.close(code)
    })
  }

  /**
   * Ends a stream whose answer is over while its request is not. Node leaves a stream that the peer closed without an
   * error waiting for its own unsent bytes for ever: no 'close', and a session that never drains.
   */
  #bury(stream: ClientHttp2Stream): void {
    setImmediate(() => {
      if (stream.destroyed || (stream.writableFinished && !stream.closed)) return
      this.#body?.destroy()
      this.#fail(stream, undefined)
      if (stream.closed) stream.destroy()
      else stream.close(constants.NGHTTP2_CANCEL)
    })
  }

  #finish(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#upstream.active--
    return true
  }
}

function requestHead(request: UpstreamRequest): string[] {
  const head = [
    ':method',
    request.method,
    ':path',
    request.path,
    ':scheme',
    'http',
    ':authority',
    request.authority,
  ]
  for (const each of request.headers) head.push(each)
  // gRPC servers insist on it, and it is the one TE value that HTTP/2 knows (RFC 9113 8.2.2).
  head.push('te', 'trailers')
  return head
}

function splitStatus(raw: readonly string[]): [status: number, headers: Headers] {
  const headers = fromRaw(raw)
  const status = headers[0] === ':status' ? Number(headers[1]) : 502
  headers.splice(0, 2)
  return [status, headers]
}
