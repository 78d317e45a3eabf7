// SPDX-License-Identifier: Apache-2.0
// What holds whatever an endpoint does: one request to it, what the client got, and what it cost.
import http from 'node:http'
import http2 from 'node:http2'
import { ask } from './http.ts'
import type { TestProxy } from './proxy.ts'
import type { RudeEndpoint } from './rude-frames.ts'
import { until } from './wait.ts'

const mib = 1_048_576
const growthBytes = 64 * mib
/** Longer than the time-outs that the routes of these tests declare. */
const patienceMs = 8000
/** Of a request that no route repeats: one, one more for a connection that ended, one beside it. */
const connectionsMax = 3

type Judge = {
  ok(value: unknown, what: string): unknown
  equal(actual: unknown, expected: unknown, what: string): unknown
  comment(text: string): void
}

export type RudeCase = {
  readonly name: string
  /** "502 503": the statuses that are right; "cut": the endpoint began an answer, and its end is seen to be missing. */
  readonly expected: string
  /** How to ask: a method, a POST whose body has no length, or a GET of HTTP/2 (service 3). */
  readonly way: 'GET' | 'POST' | 'CHUNKED' | 'HTTP/2'
  readonly peer: RudeEndpoint
  /** The endpoint sends without end: its connection must be cut. */
  readonly floods: boolean
}

/** Asks the front service (number 1) for /NAME, while others ask for /fine. */
export async function judge(t: Judge, proxy: TestProxy, it: RudeCase): Promise<void> {
  const before = await proxy.metric('pillion_memory_bytes')
  const connections = it.peer.accepted()
  let over = false
  const victim = serveOthers(proxy.port, () => over)
  const outcome = await askRude(proxy.port, `/${it.name}`, it.way)
  t.ok(it.expected.split(' ').includes(outcome), `the client got ${outcome}`)
  if (it.floods)
    await until(() => it.peer.open() === 0, 'the end of the flood', patienceMs)
  const idle = async (): Promise<boolean> =>
    (await proxy.metric('pillion_active_requests')) <= 1
  await until(idle, 'no request left')
  const grown = (await proxy.metric('pillion_memory_bytes')) - before
  over = true
  t.comment(
    `${it.name}: ${outcome}, ${it.peer.sent()} bytes sent, memory grew by ${Math.round(grown / mib)} MiB, others' slowest ${await victim} ms`,
  )
  t.ok(grown < growthBytes, `memory grew by ${Math.round(grown / mib)} MiB`)
  const made = it.peer.accepted() - connections
  t.ok(made <= connectionsMax, `${made} connections to the endpoint`)
}

/** Asks in a row until `over`; resolves with the longest wait in milliseconds. */
async function serveOthers(port: number, over: () => boolean): Promise<number> {
  let slowest = 0
  do {
    const started = performance.now()
    const { body } = await ask(port, 1, '/fine', { from: 9 })
    if (body !== 'fine') throw new Error(`another client got ${body}`)
    slowest = Math.max(slowest, performance.now() - started)
    await new Promise((resolve) => setTimeout(resolve, 5))
  } while (!over())
  return Math.round(slowest)
}

/** "200", or "cut" when the answer, or its end, never came in good order. */
async function askRude(
  port: number,
  path: string,
  way: RudeCase['way'],
): Promise<string> {
  if (way === 'HTTP/2') return askHttp2(port, path)
  const { promise, resolve } = Promise.withResolvers<string>()
  const method = way === 'GET' ? way : 'POST'
  const options = { host: '127.0.0.1', port, path, method, agent: false }
  const request = http.request(options, (response) => {
    response.resume()
    response.on('error', () => undefined)
    response.on('close', () => {
      resolve(response.complete ? String(response.statusCode) : 'cut')
    })
  })
  // The head may not have left us yet.
  request.on('error', () => {
    resolve('cut')
  })
  request.setTimeout(patienceMs, () => {
    resolve('nothing')
    request.destroy()
  })
  // Before the body has a length, it has no Content-Length.
  if (way === 'CHUNKED') request.flushHeaders()
  request.end(method === 'POST' ? Buffer.alloc(2 * mib) : undefined)
  return promise
}

async function askHttp2(port: number, path: string): Promise<string> {
  const session = http2.connect(`http://127.0.0.3:${port}`)
  session.on('error', () => undefined)
  const stream = session.request({ ':path': path })
  let status = 0
  stream.on('response', (headers) => (status = Number(headers[':status'])))
  stream.on('error', () => undefined)
  stream.resume()
  stream.setTimeout(patienceMs, () => {
    session.destroy()
  })
  await new Promise((resolve) => stream.once('close', resolve)) // events.once() would reject on a reset
  session.destroy()
  return stream.rstCode === 0 && status > 0 ? String(status) : 'cut'
}
