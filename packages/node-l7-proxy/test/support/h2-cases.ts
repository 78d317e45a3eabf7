// SPDX-License-Identifier: Apache-2.0
// A table of HTTP/2 cases: what a client sends after preface and SETTINGS, and what it must see.
import { L7Protocol } from '@pillion/contract'
import type { Test } from 'tap'
import { block, code, flag, frame, get, RawHttp2, request, type } from './h2-frames.ts'
import { httpBackend } from './http.ts'
import { startProxy } from './proxy.ts'
import { endpoint, rule, service, table } from './resources.ts'
import { until } from './wait.ts'

type ErrorName = keyof typeof code

/**
 * `connection X`: GOAWAY with that code, and the end. `stream X`: RST_STREAM with that code, or the same as a connection
 * error, which RFC 9113 5.4.1 allows for every stream error. `answer`: 200 to stream 1. `alive`: PING is answered and another
 * request served.
 */
export type Expected =
  `connection ${ErrorName}` | `stream ${ErrorName}` | 'answer' | 'alive'

/** What is sent, or a conversation that ends with what was wrong ("" nothing). */
export type H2Case =
  readonly [Expected, ...Buffer[]] | ((client: RawHttp2, port: number) => Promise<string>)

export type H2Cases = Readonly<Record<string, H2Case>>

const post = [[':method', 'POST'], ...get.slice(1)] as const
export const both = flag.endStream | flag.endHeaders
/** A request on stream 1 whose body is still to come. */
export const open = (
  ...more: readonly (readonly [name: string, value: string])[]
): Buffer => frame(type.headers, flag.endHeaders, 1, block(...post, ...more))
/** HEADERS of stream 1 with a block of these bytes. */
export const raw = (...bytes: readonly (number | Buffer)[]): Buffer =>
  frame(
    type.headers,
    both,
    1,
    Buffer.concat(
      bytes.map((each) => (Buffer.isBuffer(each) ? each : Buffer.from([each]))),
    ),
  )

/** Plays every case, each on a connection of its own, with an HTTP/1.1 endpoint behind the proxy that echoes. */
export async function playAll(t: Test, cases: H2Cases): Promise<void> {
  const backend = await httpBackend((incoming, response) => {
    let body = ''
    incoming.setEncoding('latin1').on('data', (text: string) => (body += text))
    incoming.on('end', () => {
      const { 'custom-key': custom, 'cache-control': cache } = incoming.headers
      response.end(`fine ${String(custom ?? cache ?? body)}`)
    })
  })
  const proxy = await startProxy([
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', backend.port),
    service(2, 'h2', L7Protocol.HTTP2),
    table(2, 'h2', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
  ])
  t.teardown(async () => {
    await proxy.stop()
    await backend.close()
  })
  for (const [name, it] of Object.entries(cases)) {
    await t.test(name, async (t) => play(t, proxy.port, it))
  }
  await t.test('nothing crashed, nothing stayed', async (t) => {
    t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
    await until(
      async () => (await proxy.metric('pillion_active_requests')) === 0,
      'no request',
    )
  })
}

/** Plays one case. */
async function play(t: Test, port: number, it: H2Case): Promise<void> {
  const client = new RawHttp2(port, 2)
  // SETTINGS are acknowledged before anything is judged by them.
  await until(() => client.of(type.settings).length === 2, 'SETTINGS and their ACK')
  if (typeof it === 'function') t.equal(await it(client, port), '')
  else {
    const [expected, ...frames] = it
    client.send(...frames)
    if (expected === 'answer') t.equal(await client.outcome(1), '200')
    else if (expected === 'alive') {
      t.ok(await client.isAlive(), 'PING is answered')
      client.send(request(9))
      t.equal(await client.outcome(9), '200')
    } else t.equal(await failure(client, expected), expected)
  }
  client.destroy()
}

async function failure(client: RawHttp2, expected: string): Promise<string> {
  const [kind, name] = expected.split(' ')
  const resets = (): number[] => client.of(type.rst).map(codeOf)
  await until(
    () => client.goaway !== undefined || client.closed || resets().length > 0,
    expected,
    5000,
  )
  const wanted = code[name as ErrorName]
  if (client.goaway !== undefined) {
    await until(() => client.closed, 'the end of the connection')
    return client.goaway === wanted ? expected : `GOAWAY ${client.goaway}`
  }
  if (client.closed) return 'closed without a word'
  return kind === 'stream' && resets().includes(wanted) ? expected : `RST ${resets()}`
}

const codeOf = ({ payload }: { payload: Buffer }): number => payload.readUInt32BE(0)
