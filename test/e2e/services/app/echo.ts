// SPDX-License-Identifier: Apache-2.0
// Says its pod's name by HTTP on 8080 and by UDP on 8053, to both families. Goes on serving after SIGTERM: what ends it is the
// end of its grace period.
import { createSocket } from 'node:dgram'
import { createServer } from 'node:http'

const name = process.env['POD_NAME'] ?? ''

createServer((_request, response) => response.end(`${name}\n`)).listen(8080, '::')

const socket = createSocket({ type: 'udp6', ipv6Only: false })
socket.on('message', (_message, { port, address }) => socket.send(name, port, address))
socket.bind(8053, '::')

process.on('SIGTERM', () => undefined)
