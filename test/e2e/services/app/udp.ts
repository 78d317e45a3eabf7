// SPDX-License-Identifier: Apache-2.0
// udp.ts MODE ADDRESS PORT: one socket; each line of standard input is a datagram. Prints "ADDRESS:PORT BODY" for each answer,
// "silence" when none comes within a second, or the code of an error. MODE `unconnected` sends with sendto, `connected` with
// connect and send.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const [mode, address = '', port = ''] = process.argv.slice(2)
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
if (mode === 'connected') {
  socket.connect(Number(port), address)
  await once(socket, 'connect')
}
socket.on('message', (body, from) =>
  say(`${from.address}:${from.port} ${body.toString()}`),
)
socket.on('error', (error: NodeJS.ErrnoException) => say(error.code ?? error.message))

let timer: NodeJS.Timeout | undefined
function say(text: string): void {
  clearTimeout(timer)
  console.log(text)
}

for await (const line of createInterface({ input: process.stdin })) {
  clearTimeout(timer)
  timer = setTimeout(() => say('silence'), 1000)
  const sent = (error: Error | null): void => {
    if (error !== null) say((error as NodeJS.ErrnoException).code ?? error.message)
  }
  if (mode === 'connected') socket.send(line, sent)
  else socket.send(line, Number(port), address, sent)
}
