// SPDX-License-Identifier: Apache-2.0
// HTTP/2 by hand (RFC 9113), as little as the load needs, because of what GOAWAY means: node's client refuses, by itself,
// what it has not sent when one comes, and a count could not tell that from a stream that the other side refused.
import { connect, type Socket } from 'node:net'

const type = {
  data: 0,
  headers: 1,
  rst: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
}
const flag = { endStream: 1, ack: 1, endHeaders: 4 }
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
/** `:status: 200` of the static table (RFC 7541 appendix A). */
const status200 = 0x88
const headBytes = 9

type Pending = {
  text: string
  status: number
  resolve(text: string): void
  reject(error: Error): void
}

function frame(kind: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(kind, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Literals without an index (RFC 7541 6.2.2); all are shorter than 127 bytes. */
const block = (...fields: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  )

/** One connection; told to go, it opens no stream any more, and those that it has opened must be answered. */
export class Http2Session {
  readonly #socket: Socket
  readonly #head: Buffer
  readonly #pending = new Map<number, Pending>()
  #bytes: Buffer = Buffer.alloc(0)
  #next = 1
  /** Whether requests belong on another one. */
  over = false

  constructor(host: string, authority: string) {
    this.#head = block(
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', authority],
    )
    this.#socket = connect(80, host)
    this.#socket.setNoDelay(true)
    this.#socket.on('error', () => undefined) // 'close' follows
    this.#socket.on('close', () => this.#fail(0, 'the connection ended'))
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    const window = Buffer.alloc(4)
    window.writeUInt32BE(2 ** 31 - 1 - 65_535)
    this.#socket.write(preface)
    this.#socket.write(frame(type.settings, 0, 0, Buffer.alloc(0)))
    this.#socket.write(frame(type.windowUpdate, 0, 0, window))
  }

  /** The body of the answer to `body`. */
  ask(body: string): Promise<string> {
    const stream = this.#next
    this.#next += 2
    return new Promise((resolve, reject) => {
      this.#pending.set(stream, { text: '', status: 0, resolve, reject })
      const headers = frame(type.headers, flag.endHeaders, stream, this.#head)
      const data = frame(type.data, flag.endStream, stream, Buffer.from(body))
      this.#socket.write(Buffer.concat([headers, data]))
    })
  }

  #read(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    while (this.#bytes.length >= headBytes) {
      const end = headBytes + this.#bytes.readUIntBE(0, 3)
      if (this.#bytes.length < end) return
      const stream = this.#bytes.readUInt32BE(5) & 0x7fffffff
      const payload = this.#bytes.subarray(headBytes, end)
      this.#take(this.#bytes.readUInt8(3), this.#bytes.readUInt8(4), stream, payload)
      this.#bytes = this.#bytes.subarray(end)
    }
  }

  #take(kind: number, flags: number, stream: number, payload: Buffer): void {
    if (kind === type.goaway)
      return this.#told(payload.readUInt32BE(0), payload.readUInt32BE(4))
    if ((kind === type.settings || kind === type.ping) && (flags & flag.ack) === 0) {
      const echo = kind === type.ping ? payload : Buffer.alloc(0)
      this.#socket.write(frame(kind, flag.ack, 0, echo))
      return
    }
    const pending = this.#pending.get(stream)
    if (pending === undefined) return
    if (kind === type.rst) {
      this.#pending.delete(stream)
      pending.reject(new Error(`the stream was reset with ${payload.readUInt32BE(0)}`))
      return
    }
    if (kind === type.headers) pending.status ||= payload[0] ?? 0
    if (kind === type.data) pending.text += payload.toString()
    if (![type.headers, type.data].includes(kind) || (flags & flag.endStream) === 0)
      return
    this.#pending.delete(stream)
    pending.resolve(
      pending.status === status200 ? pending.text : `status of ${pending.status}`,
    )
    if (this.over && this.#pending.size === 0) this.#socket.end()
  }

  #told(lastStream: number, code: number): void {
    this.over = true
    this.#fail(lastStream, `GOAWAY ${code}`)
    if (this.#pending.size === 0) this.#socket.end()
  }

  /** Streams after `lastStream` will not be answered. */
  #fail(lastStream: number, reason: string): void {
    this.over = true
    for (const [stream, { reject }] of this.#pending) {
      if (stream <= lastStream) continue
      this.#pending.delete(stream)
      reject(new Error(reason))
    }
  }
}
