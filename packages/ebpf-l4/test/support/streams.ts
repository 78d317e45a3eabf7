// SPDX-License-Identifier: Apache-2.0
// Traffic that goes on while something else happens, and what it says of it in the end. The functions run in pods
// (Host.serve): they stand alone.
import type { ChildProcess } from 'node:child_process'

/** Sends everything back; on port 8080. */
export const echo = async (): Promise<void> => {
  const { createServer } = await import('node:net')
  createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(8080, '::', () => console.log('ready'))
}

/** Connects every 2 ms while told to, and counts how that went, by error code. */
export const connects = async (address: string): Promise<void> => {
  const { connect } = await import('node:net')
  const results: Record<string, number> = {}
  let more = true
  process.stdin.once('data', () => (more = false))
  console.log('ready')
  while (more) {
    const code = await new Promise<string>((resolve) => {
      const socket = connect(8080, address)
      socket.on('connect', () => resolve('connected'))
      socket.on('error', (error) =>
        resolve((error as NodeJS.ErrnoException).code ?? 'error'),
      )
      socket.on('close', () => socket.destroy())
      setImmediate(() => socket.end())
    })
    results[code] = (results[code] ?? 0) + 1
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  console.log(JSON.stringify(results))
  process.exit()
}

/** Pieces of random size and content on one connection, a few at a time on their way; compares what comes back by its hash. */
export const checksummed = async (address: string): Promise<void> => {
  const { createHash, randomBytes, randomInt } = await import('node:crypto')
  const { connect } = await import('node:net')
  const socket = connect(8080, address)
  const [out, back] = [createHash('sha256'), createHash('sha256')]
  let [sent, received, more] = [0, 0, true]
  const send = (): void => {
    while (more && sent - received < 65_536) {
      const piece = randomBytes(randomInt(1, 8192))
      out.update(piece)
      sent += piece.length
      socket.write(piece)
    }
  }
  // Paced: what is tested is that nothing is lost, not how much fits.
  const timer = setInterval(send, 2)
  socket.on('data', (data: Buffer) => {
    back.update(data)
    received += data.length
  })
  socket.on('error', (error) => console.log(JSON.stringify({ error: error.message })))
  process.stdin.once('data', () => {
    more = false
    clearInterval(timer)
    socket.end()
    socket.on('close', () => {
      const intact = out.digest('hex') === back.digest('hex')
      console.log(JSON.stringify({ intact, missing: sent - received, some: sent > 0 }))
    })
  })
  socket.once('data', () => console.log('ready'))
  socket.on('connect', send)
}

/** What `checksummed` says when nothing was lost. */
export const intact = { intact: true, missing: 0, some: true }

/** Tells it to end, returns what it prints. */
export async function finish(child: ChildProcess): Promise<unknown> {
  const line = new Promise<string>((resolve, reject) => {
    child.stdout?.once('data', (data) => resolve(String(data)))
    child.once('exit', (code) => reject(new Error(`ended with ${code}`)))
  })
  child.stdin?.write('end')
  return JSON.parse(await line)
}
