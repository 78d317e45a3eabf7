// SPDX-License-Identifier: Apache-2.0
import { request } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import t from 'tap'
import { jsonAnswer, serveHealth, textAnswer } from '../src/admin.ts'

let ready = true
const table = {
  '/healthz': () => textAnswer(200, 'ok'),
  '/readyz': () => textAnswer(ready ? 200 : 503, 'as said'),
  '/debug/config': () => jsonAnswer({ secret: true }),
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port

function ask(host: string, port: number, path: string): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
  const asked = request({ host, port, path }, (response) => {
    response.resume()
    resolve(response.statusCode)
  })
  asked.on('error', reject).end()
  return promise
}

t.test('a kubelet asks loopback, and only for health', async (t) => {
  const server = await serveHealth(0, table)
  t.teardown(() => server.close())
  const status = (path: string) => ask('127.0.0.1', portOf(server), path)
  t.equal(await status('/healthz'), 200)
  t.equal(await status('/readyz'), 200)
  ready = false
  t.equal(await status('/readyz'), 503)
  t.equal(await status('/debug/config'), 404)
  t.equal((server.address() as AddressInfo).address, '127.0.0.1')
  const others = Object.values(networkInterfaces())
    .flat()
    .filter((each) => each !== undefined && !each.internal && each.family === 'IPv4')
  for (const other of others)
    await t.rejects(ask(other?.address ?? '', portOf(server), '/healthz'))
})

t.test('a taken port is said', async (t) => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  t.teardown(() => other.close())
  await t.rejects(serveHealth(portOf(other), table), { code: 'EADDRINUSE' })
})
