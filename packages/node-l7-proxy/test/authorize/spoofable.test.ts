// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { appendForwardedFor, removeSpoofable } from '../../src/authorize/spoofable.ts'

t.test('what only the mesh may say', (t) => {
  const headers = [
    ...['x-pillion-route', '1', 'x-other', '2', 'x-envoy-original-path', '3'],
    ...['x-forwarded-client-cert', '4', 'x-forwarded-client-cert', '5', 'xenvoy', '6'],
    ...['x-envoyage', '7', 'x-forwarded-proto', 'https'],
  ]
  removeSpoofable(headers)
  t.strictSame(headers, [
    ...['x-other', '2', 'xenvoy', '6', 'x-envoyage', '7', 'x-forwarded-proto', 'https'],
  ])
  t.end()
})

t.test('the last address of X-Forwarded-For is the true one', (t) => {
  const after = (...headers: string[]): string[] => {
    appendForwardedFor(headers, '10.0.0.1')
    return headers
  }
  t.strictSame(after(), ['x-forwarded-for', '10.0.0.1'])
  t.strictSame(after('x-forwarded-for', ''), ['x-forwarded-for', '10.0.0.1'])
  t.strictSame(
    after('x-forwarded-for', '1.1.1.1', 'a', 'b', 'x-forwarded-for', '2.2.2.2'),
    ['x-forwarded-for', '1.1.1.1,2.2.2.2, 10.0.0.1', 'a', 'b'],
  )
  t.end()
})
