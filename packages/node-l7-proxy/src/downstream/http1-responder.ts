// SPDX-License-Identifier: Apache-2.0
// The downstream side of an HTTP/1.1 exchange, over node's ServerResponse.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Connection, Responder } from '../exchange.ts'
import type { Headers } from '../headers.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Holder, Holding } from './buffers.ts'
import { StallTimer } from './stall.ts'

export class Http1Responder implements Responder, Holder {
  readonly connection: Connection
  readonly #holding: Holding
  readonly #response: ServerResponse
  readonly #firstBytes: Buffer | undefined
  readonly #stall: StallTimer
  #tunnel: readonly Duplex[] = []
  #continued = false
  onDrain: (() => void) | undefined
  onGone: (() => void) | undefined
  onShed: ((share: string) => void) | undefined
  behind: { readonly held: number } | undefined

  /** `firstBytes`: what came after the head of an Upgrade. */
  constructor(
    response: ServerResponse,
    holding: Holding,
    stallTimeoutMs: number,
    metrics: Metrics,
    firstBytes?: Buffer,
  ) {
    this.connection = holding.connection
    this.#holding = holding
    this.#response = response
    this.#firstBytes = firstBytes
    this.#stall = new StallTimer(stallTimeoutMs, () => {
      metrics.counters.stalledAnswers++
      response.destroy()
    })
    response.on('close', () => {
      this.#stall.clear()
      if (this.#tunnel.length > 0) return
      holding.buffers.remove(this)
      if (!response.writableFinished) this.onGone?.()
    })
    response.on('error', ignore)
    if (holding.body !== undefined) holding.buffers.add(this)
  }

  get held(): number {
    let bytes = this.#response.writableLength + (this.#holding.body?.held ?? 0)
    bytes += this.behind?.held ?? 0
    for (const side of this.#tunnel) bytes += side.writableLength + side.readableLength
    return bytes
  }

  shed(share: string): void {
    this.onShed?.(share)
  }

  informational(status: number, headers: Headers): void {
    const response = this.#response
    if (response.headersSent || response.req.httpVersionMinor < 1) return
    if (status === 100) {
      if (!this.#continued) response.writeContinue()
      this.#continued = true
    } else if (status === 103) {
      try {
        response.writeEarlyHints(toObject(headers))
      } catch {
        // node wants a Link that it understands; hints are optional to forward
      }
    } // node can write no other 1xx; they are optional to forward (RFC 9110 15.2)
  }

  head(status: number, headers: Headers, ended: boolean, close: boolean): void {
    const response = this.#response
    if (close) response.shouldKeepAlive = false
    try {
      response.writeHead(status, headers)
    } catch {
      // What node will not write in HTTP/1.1 ends one request, not the process.
      response.destroy()
      return
    }
    if (ended) response.end()
  }

  write(chunk: Buffer): boolean {
    const response = this.#response
    if (response.write(chunk)) return true
    this.#stall.start()
    this.#holding.buffers.add(this)
    response.once('drain', () => {
      this.#stall.clear()
      this.behind = undefined
      if (this.#holding.body === undefined) this.#holding.buffers.remove(this)
      const resume = this.onDrain
      this.onDrain = undefined
      resume?.()
    })
    return response.destroyed // nobody will drain a destroyed response
  }

  end(trailers: Headers | undefined): void {
    if (trailers !== undefined) {
      const pairs: [string, string][] = []
      for (let i = 0; i < trailers.length; i += 2)
        pairs.push([trailers[i] ?? '', trailers[i + 1] ?? ''])
      this.#response.addTrailers(pairs)
    }
    this.#response.end()
  }

  abort(): void {
    for (const side of this.#tunnel) side.destroy()
    this.#response.destroy()
  }

  tunnel(
    headers: Headers,
    upstream: Duplex,
    head: Buffer,
    over: (sent: number) => void,
  ): void {
    const response = this.#response
    const { socket } = response
    this.#tunnel = [upstream]
    if (socket === null) {
      upstream.destroy()
      over(0)
      return
    }
    response.detachSocket(socket)
    let text = 'HTTP/1.1 101 Switching Protocols\r\n'
    for (let i = 0; i < headers.length; i += 2)
      text += `${headers[i]}: ${headers[i + 1]}\r\n`
    socket.write(
      `${text}connection: Upgrade\r\nupgrade: ${response.req.headers.upgrade}\r\n\r\n`,
      'latin1',
    )
    if (head.length > 0) socket.write(head)
    if (this.#firstBytes !== undefined && this.#firstBytes.length > 0)
      upstream.write(this.#firstBytes)
    this.#tunnel = [socket, upstream]
    this.#holding.buffers.add(this)
    join(socket, upstream, (sent) => {
      this.#holding.buffers.remove(this)
      over(sent)
    })
  }
}

/** Two sockets as one, half-closes included; `over` is called once, when both are closed. */
function join(downstream: Socket, upstream: Duplex, over: (sent: number) => void): void {
  let open = 2
  const before = downstream.bytesWritten
  const closed = (): void => {
    if (--open === 0) over(downstream.bytesWritten - before)
  }
  for (const [one, other] of [
    [downstream, upstream],
    [upstream, downstream],
  ] as const) {
    one.on('error', ignore)
    one.on('close', () => {
      if (!other.destroyed && !one.readableEnded) other.destroy()
      closed()
    })
    one.pipe(other)
  }
}

function toObject(headers: Headers): Record<string, string> {
  const object: Record<string, string> = {}
  for (let i = 0; i < headers.length; i += 2)
    object[headers[i] ?? ''] = headers[i + 1] ?? ''
  return object
}

/** 'close' follows every error and says what matters. */
function ignore(): void {
  /* nothing to do */
}
