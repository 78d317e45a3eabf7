// SPDX-License-Identifier: Apache-2.0
// HTTP/2 at its worst: streams reset, refused and cancelled in the middle of their bodies, sessions killed at both ends
// (reliability.md 0.1 measured node dying of it). Nothing may crash, hang or stay behind.
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import { startProxy } from '../support/proxy.ts'
import { endpoint, service } from '../support/resources.ts'
import { rudeBackend, rudePaths } from '../support/rude-backend.ts'
import { until } from '../support/wait.ts'

const durationMs = 4000

const backend = rudeBackend().listen(0, '127.0.0.1')
await once(backend, 'listening')
const proxy = await startProxy([
  service(1, 'rude', L7Protocol.HTTP2),
  endpoint(1, 'rude', (backend.address() as AddressInfo).port),
])
t.teardown(async () => {
  await proxy.stop()
  backend.close()
})

/** One connection, twenty requests, some of them given up, sometimes the connection too. Resolves with answers seen. */
async function burst(): Promise<number> {
  let answers = 0
  const session = http2.connect(`http://127.0.0.1:${proxy.port}`)
  session.on('error', () => undefined)
  const closed = Array.from({ length: 20 }, async (_, i) => {
    const path = rudePaths[Math.floor(Math.random() * rudePaths.length)]
    const stream = session.request({
      ':path': path,
      ':method': i % 2 === 0 ? 'GET' : 'POST',
    })
    stream.on('error', () => undefined)
    stream.on('response', () => answers++)
    stream.resume()
    if (i % 2 === 1) stream.end(Buffer.alloc(Math.floor(Math.random() * 200_000)))
    if (Math.random() < 0.2)
      setTimeout(() => {
        stream.close(8)
      }, Math.random() * 5)
    await new Promise((resolve) => stream.once('close', resolve))
  })
  if (Math.random() < 0.3)
    setTimeout(() => {
      session.destroy()
    }, Math.random() * 10)
  await Promise.all(closed)
  session.destroy()
  return answers
}

t.test('every request ends, nothing stays', async (t) => {
  const end = performance.now() + durationMs
  let answers = 0
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      while (performance.now() < end) answers += await burst()
    }),
  )
  t.ok(answers > 100, `${answers} answers`)
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'no request left',
  )
  await until(async () => (await burst()) > 0, 'answers again')
})
