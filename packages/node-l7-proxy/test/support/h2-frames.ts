// SPDX-License-Identifier: Apache-2.0
// HTTP/2 by hand: frames and header blocks that no library would send, and what came back. RFC 9113 and 7541 numbers.
import net from 'node:net'
import { until } from './wait.ts'

export const type = {
  ...{ data: 0, headers: 1, priority: 2, rst: 3, settings: 4, push: 5 },
  ...{ ping: 6, goaway: 7, windowUpdate: 8, continuation: 9 },
} as const
export const flag = {
  endStream: 1,
  ack: 1,
  endHeaders: 4,
  padded: 8,
  priority: 32,
} as const
export const code = {
  ...{ protocol: 1, internal: 2, flow: 3, closed: 5, size: 6, refused: 7, cancel: 8 },
  ...{ compression: 9, calm: 11 },
} as const

export type Frame = {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

/** One frame; `length` lies about the payload. */
export function frame(
  kind: number,
  flags: number,
  stream: number,
  payload: Buffer | string = '',
  length?: number,
): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  const head = Buffer.alloc(9)
  head.writeUIntBE(length ?? bytes.length, 0, 3)
  head.writeUInt8(kind, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, bytes])
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A SETTINGS payload. */
export function settings(
  ...pairs: readonly (readonly [id: number, value: number])[]
): Buffer {
  return Buffer.concat(
    pairs.map(([id, value]) =>
      Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)]),
    ),
  )
}

/** Literals without index and without Huffman, so that any byte can be said. */
export function block(
  ...fields: readonly (readonly [name: string, value: string])[]
): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]),
  )
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  return Buffer.concat([integer(bytes.length, 7), bytes])
}

/** RFC 7541 5.1 with a prefix of `bits`, the other bits of the first byte zero. */
function integer(value: number, bits: number): Buffer {
  const max = 2 ** bits - 1
  if (value < max) return Buffer.from([value])
  const bytes = [max]
  let rest = value - max
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  bytes.push(rest)
  return Buffer.from(bytes)
}

export const get = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a.b'],
] as const

/** HEADERS of a complete request. */
export function request(
  stream: number,
  fields: readonly (readonly [name: string, value: string])[] = get,
): Buffer {
  return frame(type.headers, flag.endStream | flag.endHeaders, stream, block(...fields))
}

/** A connection that sends what it is told to, acknowledges SETTINGS, and keeps every frame that it got. */
export class RawHttp2 {
  readonly socket: net.Socket
  readonly frames: Frame[] = []
  closed = false
  readonly #acks: boolean
  #bytes: Buffer = Buffer.alloc(0)

  /** With `greet`, preface and SETTINGS go first; without `acks`, those of the other side are not acknowledged. */
  constructor(
    port: number,
    service: number,
    greet: boolean | Buffer = true,
    acks = true,
  ) {
    this.#acks = acks
    this.socket = net.connect({ port, host: `127.0.0.${service}` })
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => (this.closed = true))
    this.socket.on('data', (chunk: Buffer) => {
      this.#read(chunk)
    })
    if (greet === false) return
    this.send(preface, frame(type.settings, 0, 0, greet === true ? '' : greet))
  }

  send(...parts: readonly (Buffer | string)[]): boolean {
    if (this.socket.destroyed) return false
    return this.socket.write(
      Buffer.concat(
        parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
      ),
    )
  }

  of(kind: number, stream?: number): Frame[] {
    return this.frames.filter(
      (each) => each.type === kind && (stream === undefined || each.stream === stream),
    )
  }

  /** Code of GOAWAY, or undefined. */
  get goaway(): number | undefined {
    return this.of(type.goaway).at(-1)?.payload.readUInt32BE(4)
  }

  /** Status of the answer on `stream`, which must be the first of the connection; 0: none yet. */
  status(stream: number): number {
    const head = this.of(type.headers, stream)[0]?.payload
    return head === undefined ? 0 : statusOf(head)
  }

  /**
   * What became of `stream`: "200", "rst 1", "goaway 1", "closed"; waits for one of them, and with `further` until it is
   * true.
   */
  async outcome(stream: number): Promise<string> {
    const seen = (): string => {
      if (this.status(stream) > 0) return String(this.status(stream))
      const rst = this.of(type.rst, stream)[0]
      if (rst !== undefined) return `rst ${rst.payload.readUInt32BE(0)}`
      if (this.goaway !== undefined && this.goaway !== 0) return `goaway ${this.goaway}`
      return this.closed ? 'closed' : ''
    }
    await until(() => seen() !== '', `an answer on stream ${stream}`)
    return seen()
  }

  /** Waits for PING's echo: everything sent before was read. False: the connection has ended instead. */
  async isAlive(): Promise<boolean> {
    const before = this.of(type.ping).length
    this.send(frame(type.ping, 0, 0, 'liveness'))
    await until(
      () => this.closed || this.of(type.ping).length > before,
      'PING or the end',
    )
    return !this.closed
  }

  destroy(): void {
    this.socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    while (this.#bytes.length >= 9) {
      const length = this.#bytes.readUIntBE(0, 3)
      if (this.#bytes.length < 9 + length) return
      const [kind = 0, flags = 0] = [this.#bytes[3], this.#bytes[4]]
      const stream = this.#bytes.readUInt32BE(5) & 0x7fffffff
      const payload = Buffer.from(this.#bytes.subarray(9, 9 + length))
      this.#bytes = this.#bytes.subarray(9 + length)
      this.frames.push({ type: kind, flags, stream, payload })
      if (this.#acks && kind === type.settings && (flags & flag.ack) === 0)
        this.send(frame(type.settings, flag.ack, 0))
    }
  }
}

const indexed: Readonly<Record<number, number>> = {
  ...{ 0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500 },
}

/** The status at the beginning of a block, as nghttp2 writes it: indexed, or a literal with the name indexed. */
function statusOf(head: Buffer): number {
  let at = 0
  while (((head[at] ?? 0) & 0xe0) === 0x20) at++ // table size update
  const first = head[at] ?? 0
  const known = indexed[first]
  if (known !== undefined) return known
  const length = head[at + 1] ?? 0
  const digits = head.subarray(at + 2, at + 2 + (length & 0x7f))
  return Number(length & 0x80 ? huffmanDigits(digits) : digits.toString('latin1'))
}

/** Digits only (RFC 7541 appendix B): 0 to 2 have five bits, 3 to 9 six. */
function huffmanDigits(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  let text = ''
  for (let at = 0; text.length < 3;) {
    const five = Number.parseInt(bits.slice(at, at + 5), 2)
    if (five < 3) {
      text += String(five)
      at += 5
    } else {
      text += String(Number.parseInt(bits.slice(at, at + 6), 2) - 0x19 + 3)
      at += 6
    }
  }
  return text
}
