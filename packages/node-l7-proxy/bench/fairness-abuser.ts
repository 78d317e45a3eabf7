// SPDX-License-Identifier: Apache-2.0
// The abuser, in a process of its own: asks services 1 (HTTP) and 2 (HTTP/2) of the proxy at port argv[2], each from one identity.
// Does what it is told by name, and answers with what came of it.
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  block,
  flag,
  frame,
  RawHttp2,
  request,
  type,
  uint32,
} from '../test/support/h2-frames.ts'

const port = Number(process.argv[2])
/** 1, or a tenth with --quick. */
const scale = Number(process.argv[3])
/** How long an abuse goes on that has no end of its own. */
const holdMs = 3000
const mib = 1_048_576
const large = Math.round(1024 * scale) * mib

/** Every abuse by name. Each ends what it has begun. */
const abuses: Readonly<Record<string, () => Promise<string>>> = {
  'slow headers': async () => {
    const sockets = await crowd(10_000 * scale, 'GET / HTTP/1.1\r\nhost:')
    const drip = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write('x')
    }, 2000)
    const answers = await Promise.all(sockets.map(async (socket) => firstLine(socket)))
    clearInterval(drip)
    return leave(sockets, count(answers))
  },
  'slow bodies': async () => {
    const head = 'POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx'
    const sockets = await crowd(9000 * scale, head)
    for (let second = 0; second < holdMs / 1000; second++) {
      await sleep(1000)
      for (const socket of sockets) if (socket.writable) socket.write('x')
    }
    const open = sockets.filter((socket) => socket.writable).length
    return leave(sockets, `${open} open at the end`)
  },
  'clients that never read': async () => {
    const sockets = await crowd(5000 * scale, 'GET /endless HTTP/1.1\r\nhost: a\r\n\r\n')
    for (const socket of sockets) socket.pause()
    await sleep(holdMs)
    return leave(sockets, `${sockets.length} asked`)
  },
  'a backend that never answers': async () => {
    const sockets = await crowd(5000 * scale, 'GET /never HTTP/1.1\r\nhost: a\r\n\r\n')
    await sleep(holdMs)
    const open = sockets.filter((socket) => socket.writable).length
    return leave(sockets, `${open} open at the end`)
  },
  'uploads that nobody reads': async () => {
    const clients = await Promise.all(
      Array.from({ length: 500 * scale }, async () => {
        const client = new RawHttp2(port, 2)
        await client.isAlive() // the windows are those of SETTINGS from now on
        client.send(...upload())
        return client
      }),
    )
    await sleep(holdMs)
    const open = clients.filter(({ closed }) => !closed).length
    for (const client of clients) client.destroy()
    return `${clients.length} times 1 MiB sent, ${open} open at the end`
  },
  'endless headers': async () => {
    const end = performance.now() + holdMs
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        let turns = 0
        for (; performance.now() < end; turns++)
          await (i % 2 === 0 ? endlessHttp1() : endlessHttp2())
        return turns
      }),
    )
    return `${answers.reduce((sum, turns) => sum + turns, 0)} connections`
  },
  'requests as fast as they go': async () => {
    const end = performance.now() + holdMs
    const done = await Promise.all(
      Array.from({ length: 256 }, async () => floodUntil(end)),
    )
    return `${done.reduce((sum, requests) => sum + requests, 0)} answers`
  },
  'bodies of 1 GiB': async () => {
    const [up, down] = await Promise.all([sendLarge(), readLarge()])
    return `${up} bytes sent, ${down} read`
  },
  'streams opened and reset': async () => {
    const connections = 200 * scale
    let begun = 0
    let streams = 0
    const worker = async (): Promise<void> => {
      while (begun++ < connections) {
        const count = await resetStreams()
        streams += count
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))
    return `${streams} streams`
  },
}

process.on('message', (name: string) => {
  void (async () => process.send?.(await (abuses[name] ?? unknown)()))()
})
process.once('disconnect', () => process.exit(0))
process.send?.(Object.keys(abuses))

const unknown = (): Promise<string> => Promise.reject(new Error('no such abuse'))

/** `size` connections, all begun at once, that have sent `bytes`. */
async function crowd(size: number, bytes: string): Promise<net.Socket[]> {
  return Promise.all(
    Array.from({ length: size }, async () => {
      const socket = connect()
      socket.write(bytes)
      await once(socket, 'connect')
      return socket
    }),
  )
}

function connect(): net.Socket {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: '127.0.1.1' })
  return socket.on('error', () => undefined)
}

function leave(sockets: readonly net.Socket[], report: string): string {
  for (const socket of sockets) socket.destroy()
  return report
}

async function firstLine(socket: net.Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('data', (bytes) => {
      resolve(bytes.toString('latin1').split('\r\n', 1)[0] ?? '')
    })
    socket.once('close', () => {
      resolve('closed')
    })
  })
}

/** "2 HTTP/1.1 408 HEADER_TIMEOUT, 1 closed". */
function count(texts: readonly string[]): string {
  const seen = new Map<string, number>()
  for (const text of texts) seen.set(text, (seen.get(text) ?? 0) + 1)
  return [...seen].map(([text, times]) => `${times} ${text}`).join(', ')
}

/** Four streams of a connection that fill its whole window. */
function upload(): Buffer[] {
  const piece = Buffer.alloc(16_384)
  return [1, 3, 5, 7].flatMap((id) => [
    frame(
      type.headers,
      flag.endHeaders,
      id,
      block(
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', '/never'],
        [':authority', 'a'],
      ),
    ),
    ...Array.from({ length: 16 }, () => frame(type.data, 0, id, piece)),
  ])
}

/** One connection, the next request when the answer is there. Resolves with the number of answers. */
async function floodUntil(endMs: number): Promise<number> {
  const socket = connect()
  const ask = (): boolean => socket.write('GET /fine HTTP/1.1\r\nhost: a\r\n\r\n')
  let answers = 0
  socket.on('data', () => {
    answers++
    if (performance.now() < endMs) ask()
    else socket.destroy()
  })
  ask()
  await new Promise((resolve) => socket.once('close', resolve))
  return answers
}

/** One connection, below what ends it (1000 resets), so that every stream is the proxy's work. */
async function resetStreams(): Promise<number> {
  const client = new RawHttp2(port, 2)
  let streams = 0
  for (; streams < 500 && !client.closed; streams++) {
    const id = 2 * streams + 1
    client.send(request(id), frame(type.rst, 0, id, uint32(8)))
    if (streams % 50 === 49) await client.isAlive()
  }
  client.destroy()
  return streams
}

async function endlessHttp1(): Promise<void> {
  const socket = connect()
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n')
  const field = `x: ${'y'.repeat(4000)}\r\n`.repeat(4)
  const more = (): void => {
    while (socket.writable && socket.write(field));
  }
  socket.on('drain', more)
  more()
  socket.resume()
  await closed(socket)
}

async function endlessHttp2(): Promise<void> {
  const client = new RawHttp2(port, 2)
  const part = block(['x', 'y'.repeat(16_000)])
  client.send(frame(type.headers, 0, 1, part))
  for (let i = 0; i < 64; i++) client.send(frame(type.continuation, 0, 1, part))
  await closed(client.socket)
}

async function closed(socket: net.Socket): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), 5000)
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  clearTimeout(timer)
}

async function sendLarge(): Promise<string> {
  const socket = connect()
  const chunk = Buffer.alloc(mib)
  const answer = firstBody(socket)
  socket.write(`POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: ${large}\r\n\r\n`)
  for (let sent = 0; sent < large && socket.writable; sent += chunk.length)
    if (!socket.write(chunk)) await once(socket, 'drain')
  const text = await answer
  socket.destroy()
  return text
}

async function firstBody(socket: net.Socket): Promise<string> {
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  return bytes.toString('latin1').split('\r\n\r\n')[1]?.split('\r\n').at(-1) ?? ''
}

async function readLarge(): Promise<number> {
  const socket = connect()
  let bytes = 0
  socket.on('data', (chunk) => {
    bytes += chunk.length
    if (bytes >= large) socket.destroy()
  })
  socket.write('GET /large HTTP/1.1\r\nhost: a\r\n\r\n')
  await new Promise((resolve) => socket.once('close', resolve))
  return bytes
}
