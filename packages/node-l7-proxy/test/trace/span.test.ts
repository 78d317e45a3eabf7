// SPDX-License-Identifier: Apache-2.0
// Names and errors of spans where the conventions differ: RPC, unknown methods, clients that go away.
import t from 'tap'
import type { Attempt } from '../../src/attempt.ts'
import type { Exchange } from '../../src/exchange.ts'
import { attemptSpan, requestSpan } from '../../src/trace/span.ts'
import { makeEndpoint } from '../support/endpoint.ts'

const trace = {
  ...{ traceId: 'a'.repeat(32), parentId: '', spanId: 'b'.repeat(16) },
  ...{ sampled: true, formats: [] },
}

function exchangeOf(more: object, message: object = {}): Exchange {
  return {
    ...{ trace, grpc: false, startedMs: 1, rule: undefined, service: { name: 'shop/a' } },
    message: {
      method: 'GET',
      path: '/a',
      authority: '[::1]:80',
      headers: [],
      ...message,
    },
    connection: {
      ...{ origin: { destinationPort: 80, sourcePort: 9 }, http2: true },
      client: { address: '10.0.0.1', labels: { workload: 'cart' } },
    },
    ...more,
  } as unknown as Exchange
}

const over = (
  status: number,
  flag = '-',
): { status: number; flag: string; detail: string } => ({
  ...{ status, flag, detail: '' },
})

t.test('an unknown method is no name', (t) => {
  t.match(requestSpan(exchangeOf({}, { method: 'HACK' }), over(200), 2), {
    name: 'HTTP',
    attributes: {
      ...{ 'http.request.method': '_OTHER', 'http.request.method_original': 'HACK' },
      'server.address': '[::1]',
    },
  })
  t.match(requestSpan(exchangeOf({}, { method: 'QUERY' }), over(200), 2), {
    name: 'QUERY',
  })
  t.end()
})

t.test('errors of a server: 5xx, and the gRPC statuses that are its own', (t) => {
  const rows: [number, boolean][] = [
    [200, false],
    [404, false],
    [499, false],
    [500, true],
  ]
  for (const [status, isError] of rows)
    t.equal(
      requestSpan(exchangeOf({}), over(status), 2)?.isError,
      isError,
      String(status),
    )
  const grpc = (grpcStatus: number): unknown =>
    requestSpan(exchangeOf({ grpc: true, grpcStatus }, { path: '/p.S/M' }), over(200), 2)
  t.match(grpc(14), {
    ...{ name: 'p.S/M', isError: true },
    attributes: {
      ...{ 'rpc.system.name': 'grpc', 'rpc.method': 'p.S/M' },
      ...{ 'rpc.status_code': 'UNAVAILABLE', 'error.type': 'UNAVAILABLE' },
    },
  })
  const own = Array.from({ length: 17 }, (_, i) => i).filter(
    (status) => (grpc(status) as { isError: boolean }).isError,
  )
  t.strictSame(own, [2, 4, 12, 13, 14, 15])
  t.end()
})

t.test('errors of an attempt: 4xx as well, and not that the client went away', (t) => {
  const span = (status: number, error?: string, more: object = {}) =>
    attemptSpan(
      {
        exchange: exchangeOf(more),
        ...{ endpoint: makeEndpoint('fd00::1'), spanId: 'c'.repeat(16), startedMs: 1 },
        resends: 0,
      } as unknown as Attempt,
      ...([status, error, 2] as const),
    )
  t.match(span(404), { isError: true, attributes: { 'error.type': '404' } })
  t.match(span(200), { isError: false })
  t.match(span(0, 'reset'), { isError: true, attributes: { 'error.type': 'reset' } })
  const gone = span(499, 'DC')
  t.match(gone, { isError: false })
  t.match(span(0, 'lost', { grpc: true, grpcStatus: 0 }), {
    isError: false,
    attributes: { 'pillion.hedge': 'lost', 'rpc.status_code': undefined },
  })
  t.equal(gone?.attributes['http.response.status_code'], undefined, 'it never answered')
  t.match(span(200, undefined, { grpc: true, grpcStatus: 5 }), { isError: true })
  t.equal(span(200)?.attributes['url.full'], 'http://[fd00::1]:8080/a')
  t.equal(span(200)?.attributes['http.request.resend_count'], undefined)
  t.end()
})

t.test('what is not sampled is no span', (t) => {
  const exchange = exchangeOf({ trace: { ...trace, sampled: false } })
  t.equal(requestSpan(exchange, over(200), 2), undefined)
  t.end()
})
