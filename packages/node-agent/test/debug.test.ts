// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAddress } from '@pillion/contract'
import t from 'tap'
import { DebugServer } from '../src/debug.ts'
import { AgentError } from '../src/errors.ts'
import { FlowLog } from '../src/flows.ts'
import { Names } from '../src/names.ts'
import { get, until } from './support/agent.ts'
import { flowEvent, recordsOf } from './support/events.ts'
import { resourcesOf, shop } from './support/resources.ts'

const dir = mkdtempSync(join(tmpdir(), 'pillion-debug-'))
const adminSocket = join(dir, 'a.sock')
const flows = new FlowLog(4)
const names = new Names(resourcesOf(shop))
const server = new DebugServer({
  handlers: {
    '/healthz': () => ({ text: 'ok\n' }),
    '/debug/value': () => ({ json: { addr: parseAddress('10.0.0.1'), big: 2n ** 60n } }),
    '/debug/asked': () => {
      throw new AgentError('QUESTION', 'which one?')
    },
    '/debug/broken': () => Promise.reject(new Error('oh')),
  },
  flows,
  adminSocket,
  debugPort: 0,
  metricsPort: 0,
  onError: () => undefined,
})
t.before(async () => server.listen())
t.teardown(async () => {
  await server.close()
  rmSync(dir, { recursive: true })
})

t.test('answers', async (t) => {
  t.equal(statSync(adminSocket).mode & 0o777, 0o600)
  t.same(await get(adminSocket, '/healthz'), { status: 200, text: 'ok\n' })
  const value = await get(adminSocket, '/debug/value')
  t.same(JSON.parse(value.text), { addr: '10.0.0.1', big: '1152921504606846976' })
  t.match(await get(adminSocket, '/nothing'), { status: 404, text: /\/debug\/flows/ })
  t.match(await get(adminSocket, '/debug/asked'), { status: 400, text: /which one\?/ })
  t.match(await get(adminSocket, '/debug/broken'), { status: 500, text: /oh/ })
})

t.test('flows of the past, and following', async (t) => {
  flows.push(recordsOf(flowEvent({ srcPort: 1 }), flowEvent({ srcPort: 2 })), names, 0)
  const ports = (text: string): number[] =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { src: { port: number } }).src.port)
  t.same(ports((await get(adminSocket, '/debug/flows')).text), [1, 2])
  t.same(ports((await get(adminSocket, '/debug/flows?last=1')).text), [2])
  t.match(await get(adminSocket, '/debug/flows?last=-1'), { status: 400 })

  let text = ''
  let started = false
  const req = request({ socketPath: adminSocket, path: '/debug/flows?follow=1&last=1' })
  req.on('response', (res) => {
    started = true
    res.on('error', () => undefined)
    res.on('data', (chunk) => (text += String(chunk)))
  })
  req.on('error', () => undefined)
  req.end()
  await until(() => started)
  flows.push(recordsOf(flowEvent({ srcPort: 3 })), names, 0)
  await until(() => ports(text).includes(3))
  t.same(ports(text), [2, 3])
  req.destroy()
})

t.test('a reader that does not read costs a bounded amount of memory', async (t) => {
  const req = request({ socketPath: adminSocket, path: '/debug/flows?follow=1' })
  let paused = false
  req.on('response', (res) => {
    res.pause()
    res.on('error', () => undefined)
    paused = true
  })
  req.on('error', () => undefined)
  req.end()
  await until(() => paused)
  const batch = Array.from({ length: 10_000 }, () => flowEvent())
  flows.push(recordsOf(...batch), names, 0)
  t.ok(flows.lost > 1000, `${flows.lost} lines lost, and counted`)
  req.destroy()
})

t.test('the network sees metrics and nothing else', async (t) => {
  const port = await freePort()
  const open = new DebugServer({
    handlers: {
      '/metrics': () => ({ text: 'pillion_x 1\n' }),
      '/debug/value': () => ({ text: 'secret' }),
    },
    flows,
    adminSocket: join(dir, 'b.sock'),
    debugPort: 0,
    metricsPort: port,
    onError: (message) => t.fail(message),
  })
  await open.listen()
  t.teardown(async () => open.close())
  const read = (path: string): Promise<string> =>
    new Promise((resolve, reject) => {
      request({ port, path }, (response) => {
        let text = `${response.statusCode} `
        response.on('data', (part) => (text += String(part)))
        response.on('end', () => resolve(text))
      })
        .on('error', reject)
        .end()
    })
  t.equal(await read('/metrics'), '200 pillion_x 1\n')
  for (const path of ['/debug/value', '/debug/flows', '/'])
    t.equal(await read(path), '404 /metrics\n', path)
})

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '::', resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  return port
}
