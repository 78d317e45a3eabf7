// SPDX-License-Identifier: Apache-2.0
// A client that sends any bytes and reads strictly what comes back.
import net from 'node:net'
import { type Message, readResponse } from './strict-http1.ts'

export type Conversation = {
  readonly answers: readonly Message[]
  /** What came and was no answer; '': nothing. */
  readonly junk: string
  /** False: the other side did not close in time. */
  readonly closed: boolean
}

/**
 * Sends `bytes` to service `service` of the test proxy, ends its side when `wanted` answers are there or after `patienceMs`,
 * and waits for the other end.
 */
export async function converse(
  port: number,
  service: number,
  bytes: Buffer,
  wanted: number,
  patienceMs = 2000,
): Promise<Conversation> {
  const socket = net.connect({ port, host: `127.0.0.${service}`, allowHalfOpen: true })
  let seen: Buffer = Buffer.alloc(0)
  let late = false
  const patience = setTimeout(() => socket.end(), patienceMs)
  const deadline = setTimeout(() => {
    late = true
    socket.destroy()
  }, 6000)
  socket.on('data', (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk])
    if (readAnswers(seen).answers.length >= wanted) socket.end()
  })
  socket.on('error', () => undefined)
  socket.on('end', () => socket.end())
  socket.write(bytes)
  if (wanted === 0) socket.end()
  await new Promise((resolve) => socket.once('close', resolve)) // events.once() would reject on a reset
  clearTimeout(patience)
  clearTimeout(deadline)
  return { ...readAnswers(seen), closed: !late }
}

/** Final answers in a stream of bytes that has ended. */
function readAnswers(bytes: Buffer): Omit<Conversation, 'closed'> {
  const answers: Message[] = []
  let rest = bytes
  while (rest.length > 0) {
    const read = readResponse(rest, true)
    if (read.kind !== 'message') {
      const why = read.kind === 'bad' ? read.why : 'incomplete'
      return { answers, junk: `${why}: ${rest.toString('latin1').slice(0, 300)}` }
    }
    rest = read.rest
    if (!read.message.start.startsWith('HTTP/1.1 1')) answers.push(read.message)
  }
  return { answers, junk: '' }
}

/** "200 400": the statuses in order. */
export function statuses(answers: readonly Message[]): string {
  return answers.map(({ start }) => start.split(' ')[1]).join(' ')
}
