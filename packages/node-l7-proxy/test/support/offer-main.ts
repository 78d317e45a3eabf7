// SPDX-License-Identifier: Apache-2.0
// Offers a listening socket at the path of the first argument; as the user of the second. "junk": says something else.
import net from 'node:net'
import { offerSockets } from '../../src/handover.ts'
import { loadNative } from '../../src/native.ts'

const [, , path = '', user = 'same'] = process.argv
const native = loadNative()
if (user === 'junk') {
  const server = net.createServer((each) => each.end('no sockets'))
  server.listen(path, () => process.send?.('up'))
} else {
  if (user !== 'same') process.setuid?.(Number(user))
  const sockets = [native.listenSocket('127.0.0.1', 0), native.listenSocket('::1', 0)]
  await offerSockets(native, path, 'here', sockets, console.error)
  process.send?.('up')
}
