// SPDX-License-Identifier: Apache-2.0
// A backend that reads strictly, remembers, and answers every request with what it understood.
import net from 'node:net'
import { type Backend, listen } from './http.ts'
import { type Message, readRequest } from './strict-http1.ts'

export type Recorder = Backend & {
  /** Complete, well-formed requests since the last reset. */
  requests: Message[]
  /** What was not well-formed, and the bytes. */
  violations: string[]
  reset(): void
}

/** Answers 200 with "METHOD TARGET BODY-LENGTH". */
export async function startRecorder(): Promise<Recorder> {
  const recorder = { requests: [] as Message[], violations: [] as string[] }
  const server = net.createServer((socket) => {
    let bytes: Buffer = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      for (;;) {
        const read = bytes.length === 0 ? undefined : readRequest(bytes)
        if (read?.kind === 'bad') {
          recorder.violations.push(
            `${read.why} in ${JSON.stringify(bytes.toString('latin1').slice(0, 400))}`,
          )
          socket.destroy()
          return
        }
        if (read?.kind !== 'message') return
        bytes = read.rest
        recorder.requests.push(read.message)
        const { start, body } = read.message
        const text = `${start.slice(0, start.lastIndexOf(' ')).slice(0, 100)} ${body.length}`
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\nx-recorder: 1\r\n\r\n${text}`,
        )
      }
    })
  })
  const backend = await listen(server)
  return Object.assign(recorder, backend, {
    reset: () => {
      recorder.requests = []
      recorder.violations = []
    },
  })
}
