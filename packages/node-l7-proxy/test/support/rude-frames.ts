// SPDX-License-Identifier: Apache-2.0
// Endpoints made of bytes: what they send when a connection begins, when a request came, and from then on without end.
import net from 'node:net'
import { flag, frame, preface, type } from './h2-frames.ts'
import { type Backend, listen } from './http.ts'

/** `stream` is the number of the request's stream; 0 where there are none. */
export type Rudeness = {
  /** Sent at once; absent: SETTINGS of an HTTP/2 endpoint, nothing of an HTTP/1.1 one. */
  readonly greeting?: Buffer | string
  /** Sent when the head of a request came. */
  readonly answer?: (stream: number) => Buffer | string
  /** Sent after it, again and again, until the connection ends. */
  readonly flood?: (stream: number, i: number) => Buffer | string
  /** Between two pieces of the flood; 0: as fast as they are taken. */
  readonly paceMs?: number
  /** False: nothing is read behind the head of the first request. */
  readonly reads?: boolean
  /** False: SETTINGS are never acknowledged. */
  readonly acks?: boolean
  /** True: the connection ends after the answer. */
  readonly ends?: boolean
}

export type RudeEndpoint = Backend & {
  /** Connections that are open, and that ever were. */
  readonly open: () => number
  readonly accepted: () => number
  /** Bytes sent in floods. */
  readonly sent: () => number
}

/** More than any limit allows; a flood that got here was not cut, and ends so that the test does. */
export const floodBytes = 64 * 1_048_576

/** Calls back with the stream of every HEADERS frame. */
function readFrames(chunks: net.Socket, rude: Rudeness, onHead: Ask): void {
  let bytes: Buffer = Buffer.alloc(0)
  let skip = preface.length
  chunks.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    for (;;) {
      const rest = bytes.subarray(skip)
      if (rest.length < 9) return
      const length = rest.readUIntBE(0, 3)
      if (rest.length < 9 + length) return
      const [kind = 0, flags = 0] = [rest[3], rest[4]]
      bytes = rest.subarray(9 + length)
      skip = 0
      const wantsAck = kind === type.settings && (flags & flag.ack) === 0
      if (wantsAck && rude.acks !== false) chunks.write(frame(type.settings, flag.ack, 0))
      if (kind === type.headers) onHead(rest.readUInt32BE(5))
    }
  })
}

type Ask = (stream: number) => void

/** Calls back for every head of HTTP/1.1. */
function readHeads(chunks: net.Socket, _rude: Rudeness, onHead: Ask): void {
  let text = ''
  chunks.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('latin1')).slice(-65_536)
    const heads = text.split('\r\n\r\n')
    text = heads.pop() ?? ''
    for (const head of heads) if (/^[A-Z]+ [^ ]+ HTTP\/1.1\r\n/.test(head)) onHead(0)
  })
}

export async function rudeHttp2(rude: Rudeness): Promise<RudeEndpoint> {
  return rudeEndpoint({ greeting: frame(type.settings, 0, 0), ...rude }, readFrames)
}

export async function rudeHttp1(rude: Rudeness): Promise<RudeEndpoint> {
  return rudeEndpoint(rude, readHeads)
}

async function rudeEndpoint(
  rude: Rudeness,
  read: (socket: net.Socket, rude: Rudeness, onHead: Ask) => void,
): Promise<RudeEndpoint> {
  let [open, accepted, sent] = [0, 0, 0]
  const pump = async (socket: net.Socket, stream: number): Promise<void> => {
    for (let i = 0; !socket.destroyed && sent < floodBytes; i++) {
      const piece = rude.flood?.(stream, i) ?? ''
      sent += piece.length
      const taken = socket.write(piece)
      const paceMs = rude.paceMs ?? 0
      if (taken) await new Promise((resolve) => setTimeout(resolve, paceMs))
      else await drained(socket)
    }
  }
  const server = net.createServer((socket) => {
    open++
    accepted++
    socket.on('error', () => undefined)
    socket.on('close', () => open--)
    if (rude.greeting !== undefined) socket.write(rude.greeting)
    read(socket, rude, (stream) => {
      const answer = rude.answer?.(stream) ?? ''
      if (rude.ends === true) socket.end(answer)
      else socket.write(answer)
      if (rude.reads === false) socket.pause()
      if (rude.flood !== undefined) void pump(socket, stream)
    })
  })
  const backend = await listen(server)
  const state = { open: () => open, accepted: () => accepted, sent: () => sent }
  return { ...backend, ...state }
}

async function drained(socket: net.Socket): Promise<void> {
  await new Promise((resolve) => {
    socket.once('drain', resolve).once('close', resolve)
  })
}
