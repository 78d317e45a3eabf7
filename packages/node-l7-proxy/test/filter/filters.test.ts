// SPDX-License-Identifier: Apache-2.0
// The filters that are functions: values in, values out.
import t from 'tap'
import { editHeaders } from '../../src/filter/header-modifier.ts'
import { stripHopByHop } from '../../src/filter/hop-by-hop.ts'
import { redirectLocation } from '../../src/filter/redirect.ts'
import { backoffMs, isRetryable } from '../../src/filter/retry.ts'
import { rewritePath } from '../../src/filter/rewrite.ts'
import { requestBoundMs } from '../../src/filter/timeout.ts'
import { defaultRetry } from '../../src/route/compile.ts'
import type { RetryRule } from '../../src/route/table.ts'

t.test('header modifier (the cases of MeshHTTPRouteRequestHeaderModifier)', async (t) => {
  const edit = (
    headers: string[],
    change: Partial<Parameters<typeof editHeaders>[1]>,
  ): string[] => {
    editHeaders(headers, { set: [], add: [], remove: [], ...change })
    return headers
  }
  t.strictSame(edit(['a', '1', 'x', 'old', 'x', 'older'], { set: [['x', 'new']] }), [
    'a',
    '1',
    'x',
    'new',
  ])
  t.strictSame(edit(['a', '1'], { set: [['x', 'new']] }), ['a', '1', 'x', 'new'])
  t.strictSame(edit(['x', 'old'], { add: [['x', 'new']] }), ['x', 'old,new'])
  t.strictSame(edit(['a', '1'], { add: [['x', 'new']] }), ['a', '1', 'x', 'new'])
  t.strictSame(edit(['x', '1', 'a', '1', 'x', '2'], { remove: ['x'] }), ['a', '1'])
  t.strictSame(edit(['set-cookie', 'a=1'], { add: [['set-cookie', 'b=2']] }), [
    'set-cookie',
    'a=1',
    'set-cookie',
    'b=2',
  ])
})

t.test('hop-by-hop (RFC 9110 7.6.1)', async (t) => {
  const strip = (headers: string[]): string[] => {
    stripHopByHop(headers)
    return headers
  }
  t.strictSame(
    strip([
      'connection',
      'keep-alive',
      'keep-alive',
      'timeout=5',
      'te',
      'trailers',
      'transfer-encoding',
      'chunked',
      'upgrade',
      'x',
      'proxy-connection',
      'y',
      'a',
      '1',
    ]),
    ['a', '1'],
  )
  t.strictSame(
    strip([
      'x-one',
      '1',
      'connection',
      'close, X-One',
      'x-two',
      '2',
      'connection',
      'x-two',
    ]),
    [],
  )
  t.strictSame(
    strip(['authorization', 's', 'connection', 'authorization', 'traceparent', 't']),
    ['authorization', 's', 'traceparent', 't'],
  )
})

t.test('path rewrite (the cases of MeshHTTPRouteRewritePath)', async (t) => {
  const prefix = (value: string) => ({ kind: 'prefix', value }) as const
  t.equal(
    rewritePath('/prefix/one/two', prefix('/one'), prefix('/prefix/one')),
    '/one/two',
  )
  t.equal(
    rewritePath('/strip-prefix/three?q=1', prefix('/'), prefix('/strip-prefix')),
    '/three?q=1',
  )
  t.equal(rewritePath('/strip-prefix', prefix('/'), prefix('/strip-prefix')), '/')
  t.equal(
    rewritePath('/full/one/two?q', { kind: 'full', value: '/one' }, prefix('/full')),
    '/one?q',
  )
  t.equal(rewritePath('/a', prefix('/b'), prefix('')), '/b/a')
})

t.test('redirect (the cases of MeshHTTPRouteRedirect…)', async (t) => {
  const asked = { authority: 'web.shop:8080', path: '/orig/x?q', port: 8080 }
  const none = {
    scheme: undefined,
    hostname: undefined,
    port: undefined,
    path: undefined,
    status: 302,
  }
  const match = { kind: 'prefix', value: '/orig' } as const
  t.equal(
    redirectLocation({ ...none, hostname: 'example.org' }, asked, match),
    'http://example.org:8080/orig/x?q',
  )
  t.equal(
    redirectLocation({ ...none, scheme: 'https' }, asked, match),
    'https://web.shop/orig/x?q',
  )
  t.equal(
    redirectLocation({ ...none, scheme: 'https', port: 443 }, asked, match),
    'https://web.shop/orig/x?q',
  )
  t.equal(
    redirectLocation({ ...none, scheme: 'https', port: 8443 }, asked, match),
    'https://web.shop:8443/orig/x?q',
  )
  t.equal(
    redirectLocation({ ...none, port: 80 }, asked, match),
    'http://web.shop/orig/x?q',
  )
  t.equal(
    redirectLocation({ ...none, path: { kind: 'prefix', value: '/new' } }, asked, match),
    'http://web.shop:8080/new/x?q',
  )
  t.equal(
    redirectLocation({ ...none, path: { kind: 'full', value: '/full' } }, asked, match),
    'http://web.shop:8080/full?q',
  )
})

t.test('what is retried (GEP-1731, text of August 2026)', async (t) => {
  const declared: RetryRule = {
    ...defaultRetry,
    attempts: 2,
    codes: new Set([503]),
    grpcCodes: new Set([14]),
    declared: true,
  }
  t.ok(isRetryable(declared, 'POST', { kind: 'status', status: 503 }, 1))
  t.notOk(isRetryable(declared, 'GET', { kind: 'status', status: 500 }, 1))
  t.ok(isRetryable(declared, 'GET', { kind: 'status', status: 503 }, 2))
  t.notOk(
    isRetryable(declared, 'GET', { kind: 'status', status: 503 }, 3),
    'attempts are retries, not tries',
  )
  t.ok(isRetryable(declared, 'POST', { kind: 'connect' }, 1))
  t.ok(isRetryable(declared, 'POST', { kind: 'refused' }, 1))
  t.ok(isRetryable(declared, 'PUT', { kind: 'reset' }, 1))
  t.notOk(isRetryable(declared, 'POST', { kind: 'reset' }, 1))
  t.ok(isRetryable(declared, 'GET', { kind: 'timeout' }, 1))
  t.notOk(isRetryable(declared, 'POST', { kind: 'timeout' }, 1))
  t.ok(
    isRetryable({ ...declared, codes: new Set([504]) }, 'POST', { kind: 'timeout' }, 1),
  )
  t.ok(
    isRetryable(declared, 'POST', { kind: 'grpc', status: 14, pushback: undefined }, 1),
  )
  t.notOk(isRetryable(declared, 'POST', { kind: 'final' }, 1))
  t.notOk(
    isRetryable({ ...declared, attempts: 0 }, 'GET', { kind: 'connect' }, 1),
    'attempts: 0 disables',
  )
  t.ok(isRetryable(defaultRetry, 'GET', { kind: 'reset' }, 1))
  t.notOk(isRetryable(defaultRetry, 'PUT', { kind: 'reset' }, 1))
  t.notOk(isRetryable(defaultRetry, 'GET', { kind: 'reset' }, 2))
})

t.test('backoff grows, is never earlier than its base, and has a ceiling', async (t) => {
  const rule = { ...defaultRetry, backoffMs: 100 }
  t.equal(backoffMs(rule, 1, 0), 100)
  t.equal(backoffMs(rule, 3, 0), 400)
  t.equal(backoffMs(rule, 1, 1), 150)
  t.equal(backoffMs(rule, 30, 0), 10_000)
  t.equal(backoffMs({ ...rule, backoffMs: 20_000 }, 5, 0), 20_000)
})

t.test('the bound of a request', async (t) => {
  t.equal(requestBoundMs(0, false, ['grpc-timeout', '1S']), 0)
  t.equal(requestBoundMs(500, true, ['grpc-timeout', '1S']), 500)
  t.equal(requestBoundMs(0, true, ['grpc-timeout', '1S']), 1000)
  t.equal(requestBoundMs(500, true, ['grpc-timeout', 'soon']), 500)
})
