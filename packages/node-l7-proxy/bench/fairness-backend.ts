// SPDX-License-Identifier: Apache-2.0
// A backend in a process of its own, so that the victim's does not suffer with the abused one. Sends its port.
import http from 'node:http'
import type { AddressInfo } from 'node:net'

const piece = Buffer.alloc(65_536)
const bytes = 1_073_741_824

const server = http.createServer((request, response) => {
  const { url } = request
  if (url === '/fine') response.end('fine')
  else if (url === '/large') pour(response, bytes)
  else if (url === '/endless') pour(response, Infinity)
  else if (url === '/count') {
    let seen = 0
    request.on('data', (chunk: Buffer) => (seen += chunk.length))
    request.on('end', () => response.end(String(seen)))
  } // '/never' is never answered, and never read
})
server.keepAliveTimeout = 0
server.listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port)
})
process.once('disconnect', () => process.exit(0))

function pour(response: http.ServerResponse, size: number): void {
  let left = size
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= piece.length
      if (!response.write(piece)) return
    }
    if (left <= 0) response.end()
  }
  response.on('drain', more)
  more()
}
