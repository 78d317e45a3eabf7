// SPDX-License-Identifier: Apache-2.0
// One ShouldRateLimit call: gRPC by hand over the upstream connections that all traffic uses. One message there, one back
// (grpc/grpc doc/PROTOCOL-HTTP2.md); a client library would bring a second way to connect, balance and end connections.
import { Readable } from 'node:stream'
import { RequestBody } from '../body.ts'
import type { BreakerPlace } from '../cluster/breaker.ts'
import { noRoom } from '../downstream/quota.ts'
import { grpcStatus, statusName } from '../grpc/status.ts'
import { formatGrpcTimeout } from '../grpc/timeout-header.ts'
import type { Headers } from '../headers.ts'
import type {
  Upstream,
  UpstreamCall,
  UpstreamEvents,
  UpstreamFailure,
} from '../upstream/upstream.ts'

/** Of an answer: a code, a few headers and perhaps a page for people. */
export const maxAnswerBytes = 65_536

/** `cancelled`: by us, because nobody waits for it any more. */
export type NoAnswer = 'timeout' | 'error' | 'cancelled'

const frameHead = 5

/** How a call came out. `connected` false: not even a connection was there in time; `taken` false: nobody looked at it. */
export type CallResult =
  | { readonly kind: 'answer'; readonly message: Buffer }
  | {
      readonly kind: NoAnswer
      readonly connected: boolean
      readonly taken: boolean
      readonly detail: string
    }

export class LimitCall implements UpstreamEvents {
  readonly #place: BreakerPlace
  readonly #done: (result: CallResult) => void
  #timer: NodeJS.Timeout | undefined
  #call: UpstreamCall | undefined
  #connected = false
  #chunks: Buffer[] = []
  #size = 0
  #over = false

  /** `place`: in the counts of the service that is called. `done` hears the result once. */
  constructor(place: BreakerPlace, done: (result: CallResult) => void) {
    this.#place = place
    this.#done = done
  }

  /** Sends `message`; the result is there after `timeoutMs` at the latest. */
  start(
    upstream: Upstream,
    authority: string,
    message: Uint8Array,
    timeoutMs: number,
  ): void {
    this.#timer = setTimeout(() => {
      this.#giveUp('timeout', `no answer in ${Math.ceil(timeoutMs)} ms`)
    }, timeoutMs)
    const frame = Buffer.alloc(frameHead + message.length)
    frame.writeUInt32BE(message.length, 1)
    frame.set(message, frameHead)
    const source = Readable.from([frame], { objectMode: false })
    const body = new RequestBody(source, frame.length, 0, noRoom, () => undefined)
    const headers = [
      ...['content-type', 'application/grpc', 'user-agent', 'pillion-proxy'],
      ...['grpc-timeout', formatGrpcTimeout(timeoutMs)],
    ]
    const request = { method: 'POST', path, authority, headers, body, ...plain }
    const call = upstream.start(request, this)
    // It may have failed before start() returned.
    if (this.#over) call.cancel()
    else this.#call = call
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.#giveUp('cancelled', 'the client went away')
  }

  onConnection(): void {
    this.#connected = true
    this.#place.connected()
  }

  onInformational(): void {
    /* says nothing of the limit */
  }

  onHead(status: number, headers: Headers, ended: boolean): void {
    if (status !== 200) this.#giveUp('error', `HTTP status ${status}`)
    else if (ended) this.#end(headers)
  }

  onData(chunk: Buffer): void {
    this.#size += chunk.length
    this.#chunks.push(chunk)
    if (this.#size > maxAnswerBytes)
      this.#giveUp('error', `its answer is longer than ${maxAnswerBytes} bytes`)
  }

  onEnd(trailers: Headers | undefined): void {
    this.#end(trailers ?? [])
  }

  onFailure({ kind, detail }: UpstreamFailure): void {
    this.#fail('error', detail, kind !== 'connect' && kind !== 'refused')
  }

  onTunnel(_headers: Headers, socket: { destroy(): void }): void {
    socket.destroy()
    this.#fail('error', 'it answered with an upgrade')
  }

  #end(headers: Headers): void {
    const status = grpcStatus(headers)
    const bytes = Buffer.concat(this.#chunks)
    if (status !== 0)
      this.#fail('error', status === undefined ? 'no grpc-status' : statusName(status))
    else if (bytes[0] !== 0 || bytes.length !== frameHead + lengthOf(bytes))
      this.#fail('error', 'its answer is not one plain gRPC message')
    else this.#finish({ kind: 'answer', message: bytes.subarray(frameHead) })
  }

  #giveUp(kind: NoAnswer, detail: string): void {
    const call = this.#call
    this.#fail(kind, detail)
    call?.cancel()
  }

  #fail(kind: NoAnswer, detail: string, taken = true): void {
    this.#finish({ kind, connected: this.#connected, taken, detail })
  }

  #finish(result: CallResult): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    this.#call = undefined
    this.#chunks = []
    this.#place.leave()
    this.#done(result)
  }
}

const plain = { upgrade: undefined, expectContinue: false } as const
const path = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit'

/** Of the message in the frame; -1: not even the frame's head is there. */
function lengthOf(bytes: Buffer): number {
  return bytes.length < frameHead ? -1 : bytes.readUInt32BE(1)
}
