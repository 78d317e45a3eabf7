// SPDX-License-Identifier: Apache-2.0
// Filters of users through the real processes: what they see and change, in both protocols, once a request.
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { L7Protocol, Resource } from '@pillion/contract'
import t from 'tap'
import { filter, mountConfigMap } from '../support/filters.ts'
import { ask, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, retry, rule, service, table } from '../support/resources.ts'
import { until } from '../support/wait.ts'

const examples = join(import.meta.dirname, '../../../../examples/filters')
const example = (name: string): string => readFileSync(join(examples, name), 'utf8')
const key = 'a key that only the proxy and the backend have'

/** Verifies as RFC 9421 3.2 says, from the request alone: not with the code of the example. */
function verdictOf(request: http.IncomingMessage): string {
  const { headers } = request
  const input = /^pillion=(\(([^)]*)\);.*)$/.exec(String(headers['signature-input']))
  const [path = '', query] = (request.url ?? '').split('?')
  const derived: Record<string, string> = {
    '@method': request.method ?? '',
    '@authority': (headers.host ?? '').toLowerCase(),
    '@path': path,
    '@query': query === undefined ? '?' : `?${query}`,
  }
  const lines = (input?.[2] ?? '').split(' ').map((quoted) => {
    const name = quoted.slice(1, -1)
    return `${quoted}: ${derived[name] ?? String(headers[name])}`
  })
  const base = [...lines, `"@signature-params": ${input?.[1]}`].join('\n')
  const wanted = createHmac('sha256', key).update(base).digest('base64')
  return headers['signature'] === `pillion=:${wanted}:` ? 'verified' : `not: ${base}`
}

let failures = 0
const backend = await httpBackend((request, response) => {
  response.setHeader('x-backend', 'yes')
  if (request.url?.startsWith('/large') === true) {
    for (let i = 0; i < 64; i++) response.write(Buffer.alloc(65_536, i))
    response.end()
  } else if (request.url === '/flaky' && ++failures < 3) {
    response.writeHead(503).end('later')
  } else if (request.url === '/seen') {
    response.end(JSON.stringify(request.headers))
  } else response.end(verdictOf(request))
})
t.teardown(async () => backend.close())

const grpc = http2.createServer()
grpc.on('stream', (stream, headers) => {
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc',
      'x-saw': headers['x-filtered'],
    },
    { waitForTrailers: true },
  )
  stream.on('wantTrailers', () => {
    stream.sendTrailers({ 'grpc-status': '0' })
  })
  stream.end(Buffer.from([0, 0, 0, 0, 0]))
})
grpc.listen(0, '127.0.0.1')
await once(grpc, 'listening')
t.teardown(() => grpc.close())
const grpcPort = (grpc.address() as AddressInfo).port

const mounted = mountConfigMap({
  'sign-headers.ts': example('sign-headers.ts'),
  'maintenance.ts': example('maintenance.ts'),
  'mark.mjs': `
    let calls = 0
    export default {
      onRequest({ headers, method, path, authority }, { config, route, source, requestId, traceId }) {
        headers.set('x-filtered', [++calls, config.who, method, path, authority, route.rule].join(' '))
        headers.append('x-many', config.who); headers.append('x-many', source.address)
        headers.set('x-ids', [requestId.length, traceId.length].join(' '))
        headers.remove('x-gone')
        headers.remove('cookie')
      },
      async onResponse({ status, headers, request }, { config }) {
        await new Promise((go) => setTimeout(go, 20))
        headers.append('x-order', config.who)
        headers.set('x-status', status + ' ' + request.path)
        headers.remove('x-backend')
      },
    }`,
  'gate.ts': `
    import type { Filter } from '@pillion/filter'
    import { statusOf } from './helper.ts'
    export default {
      onRequest: ({ path }) => ({ status: statusOf(path), headers: { 'X-Gate': 'shut' }, body: path === '/204' ? '' : 'closed\\n' }),
    } satisfies Filter`,
  'helper.ts': 'export const statusOf = (path: string): number => Number(path.slice(1))',
})
t.teardown(() => {
  mounted.remove()
})
const secrets = t.testdir({ 'sign-key': key })
const who = (name: string): string => JSON.stringify({ who: name })

const proxy = await startProxy(
  [
    service(1, 'signed', L7Protocol.HTTP),
    endpoint(1, 'signed', backend.port),
    table(1, 'signed', {
      filters: [
        filter('sign-headers', {
          configJson: '{"keyid":"k1","headers":["x-request-id","x-source","x-none"]}',
        }),
      ],
    }),
    service(2, 'marked', L7Protocol.HTTP),
    endpoint(2, 'marked', backend.port),
    table(2, 'marked', {
      hasRoutes: true,
      rules: [
        rule(
          '/',
          { marked: 1 },
          {
            retry: retry(3, { codes: [503] }),
            filters: [
              {
                body: {
                  $case: 'requestHeaders',
                  value: {
                    set: [],
                    add: [{ name: 'x-many', value: 'rule' }],
                    remove: [],
                  },
                },
              },
              {
                body: {
                  $case: 'responseHeaders',
                  value: {
                    set: [],
                    add: [{ name: 'x-order', value: 'rule' }],
                    remove: [],
                  },
                },
              },
            ],
          },
        ),
      ],
      filters: [
        filter('mark', { configJson: who('first') }),
        filter('mark', { configJson: who('second') }),
      ],
    }),
    service(3, 'gated', L7Protocol.HTTP),
    endpoint(3, 'gated', backend.port),
    table(3, 'gated', { filters: [filter('gate'), filter('mark')] }),
    service(4, 'calls', L7Protocol.GRPC),
    endpoint(4, 'calls', grpcPort),
    table(4, 'calls', { filters: [filter('mark', { configJson: who('grpc') })] }),
    service(5, 'shut', L7Protocol.GRPC),
    endpoint(5, 'shut', grpcPort),
    table(5, 'shut', {
      filters: [filter('maintenance', { configJson: '{"closed":true}' })],
    }),
    service(7, 'broken', L7Protocol.GRPC),
    endpoint(7, 'broken', grpcPort),
    table(7, 'broken', { filters: [filter('nowhere')] }),
    service(6, 'plain', L7Protocol.HTTP),
    endpoint(6, 'plain', backend.port),
    Resource.fromPartial({
      name: 'mesh',
      body: { $case: 'settings', value: { accessLog: true, accessLogSample: 1 } },
    }),
  ],
  ['--filters-dir', mounted.path, '--filter-secrets-dir', secrets, '--log-level', 'info'],
)
t.teardown(async () => proxy.stop())

t.test('the example signs, and a backend outside can tell', async (t) => {
  for (const path of ['/', '/a/b?c=d&e', '/a?']) {
    const reply = await ask(proxy.port, 1, path, { headers: { host: 'Shop.Example' } })
    t.match(reply, { status: 200, body: 'verified' }, path)
  }
  const forged = { signature: 'pillion=:AAAA:', 'signature-input': 'pillion=("@path")' }
  const replaced = await ask(proxy.port, 1, '/', { headers: forged })
  t.equal(replaced.body, 'verified', "a client's own is replaced")
  const { body } = await ask(proxy.port, 6, '/', { headers: forged })
  t.match(body, /^not:/, 'not signed by the filter, not verified')
})

t.test('after the rule on the way there, before it on the way back', async (t) => {
  const headers = { 'x-gone': '1', cookie: 'a=b', 'x-many': 'client', host: 'marked' }
  const reply = await ask(proxy.port, 2, '/seen', { headers })
  const seen = JSON.parse(reply.body) as Record<string, string>
  t.match(seen['x-filtered'], /^\d+ second GET \/seen marked HTTPRoute shop\/test \/$/)
  t.equal(seen['x-many'], 'client,rule, first, 127.0.0.1, second, 127.0.0.1')
  t.equal(seen['x-ids'], '36 32')
  t.notOk('x-gone' in seen || 'cookie' in seen)
  t.equal(reply.headers['x-order'], 'second,first,rule')
  t.equal(reply.headers['x-status'], '200 /seen')
  t.notOk('x-backend' in reply.headers)
})

t.test('once a request, however often it is tried', async (t) => {
  const count = async (): Promise<number> => {
    const { body } = await ask(proxy.port, 2, '/seen')
    return Number(
      (JSON.parse(body) as Record<string, string>)['x-filtered']?.split(' ')[0],
    )
  }
  const before = await count()
  const reply = await ask(proxy.port, 2, '/flaky')
  t.equal(failures, 3)
  t.equal(reply.headers['x-status'], '200 /flaky', 'no filter sees what is tried again')
  t.equal((await count()) - before, 4, 'two calls each for two requests')
})

t.test('what follows a head waits for it', async (t) => {
  const replies = await Promise.all(
    Array.from({ length: 4 }, async (_, i) => ask(proxy.port, 2, `/large?${i}`)),
  )
  for (const [i, { headers, body }] of replies.entries()) {
    t.equal(Buffer.from(body).toString('latin1').length > 0, true)
    t.equal(headers['x-status'], `200 /large?${i}`)
    t.equal([...body].length, 64 * 65_536)
  }
})

t.test('an answer at once', async (t) => {
  const reply = await ask(proxy.port, 3, '/418')
  t.match(reply, { status: 418, body: 'closed\n', headers: { 'x-gate': 'shut' } })
  t.notOk('x-order' in reply.headers, 'no filter sees it')
  const empty = await ask(proxy.port, 3, '/204')
  t.equal(empty.status, 204)
  t.notOk('content-length' in empty.headers)
  t.equal(await proxy.metric('istio_requests_total', 'response_flags="FA"'), 2)
  t.equal(
    await proxy.metric(
      'pillion_filter_duration_milliseconds_count',
      'filter="gate",hook="request",outcome="answered"',
    ),
    2,
  )
  await until(
    () => proxy.log.some((line) => line.includes('filter gate answered')),
    'the access line',
  )
})

async function grpcCall(id: number): Promise<http2.IncomingHttpHeaders> {
  const session = http2.connect(`http://127.0.0.${id}:${proxy.port}`)
  const stream = session.request({
    ':method': 'POST',
    ':path': '/test.Echo/Unary',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.end(Buffer.from([0, 0, 0, 0, 0]))
  const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  let trailers: http2.IncomingHttpHeaders = {}
  stream.on('trailers', (fields: http2.IncomingHttpHeaders) => (trailers = fields))
  stream.resume()
  await once(stream, 'close')
  session.close()
  return { ...head, ...trailers }
}

t.test('gRPC: the same, and an answer is a status', async (t) => {
  t.match(await grpcCall(4), {
    ':status': 200,
    'grpc-status': '0',
    'x-saw': /^\d+ grpc POST \/test\.Echo\/Unary/,
    'x-status': '200 /test.Echo/Unary',
  })
  t.match(await grpcCall(5), {
    ':status': 200,
    'grpc-status': '14',
    'grpc-message': 'closed for maintenance%0A',
    'retry-after': '60',
  })
  t.match(await grpcCall(7), {
    ':status': 200,
    'grpc-status': '13',
    'grpc-message': /^FILTER_FAILED: .*nowhere is not there/,
  })
})

t.test('a service without filters, and what is loaded', async (t) => {
  t.match(await ask(proxy.port, 6, '/'), { status: 200, headers: { 'x-backend': 'yes' } })
  const { body } = await proxy.admin('/debug/config')
  const { inForce } = JSON.parse(body) as {
    inForce: { filters: { name: string; state: string; hooks: string[] }[] }
  }
  t.strictSame(
    inForce.filters.map(
      ({ name, state, hooks }) => `${name} ${state} ${hooks.join('+')}`,
    ),
    [
      'sign-headers serving request',
      'mark serving request+response',
      'gate serving request',
      'maintenance serving request+response',
      'nowhere missing ',
    ],
  )
})

t.test('a client that goes away meanwhile costs nothing', async (t) => {
  const session = http2.connect(`http://127.0.0.4:${proxy.port}`)
  for (let i = 0; i < 20; i++) {
    const stream = session.request({
      ':path': '/test.Echo/Unary',
      ':method': 'POST',
      'content-type': 'application/grpc',
    })
    stream.on('error', () => undefined)
    stream.close(http2.constants.NGHTTP2_CANCEL)
  }
  session.close()
  await once(session, 'close')
  t.match(await grpcCall(4), { 'grpc-status': '0' })
  await until(
    async () => (await proxy.metric('pillion_active_requests')) === 0,
    'the end',
  )
  t.equal(await proxy.metric('pillion_worker_crashes_total'), 0)
})
