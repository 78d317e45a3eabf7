// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  isAuthority,
  isPath,
  mayTunnel,
  readTarget,
  refuseEncoding,
} from '../../src/downstream/validity.ts'

t.test('authorities', async (t) => {
  for (const good of [
    'a',
    'a.b:80',
    '10.0.0.1',
    '[::1]',
    '[2001:db8::1]:8080',
    'my_svc.',
  ])
    t.ok(isAuthority(good), good)
  for (const bad of [
    '',
    'u@a',
    'a/b',
    'a:',
    'a:65536',
    'a:1:2',
    '[x]',
    '[::1',
    '::1',
    'a b',
    'a%41',
    'a,b',
  ])
    t.notOk(isAuthority(bad), bad)
})

t.test('paths', async (t) => {
  for (const good of ['/', '//', '/a?b=%20', "/~!$&'()*+,;=:@|{}^`"])
    t.ok(isPath(good), good)
  for (const bad of ['', 'a', '/ ', '/#', '/\x7f', '/\xe9', '/\n', '*'])
    t.notOk(isPath(bad), bad)
})

t.test('targets', async (t) => {
  t.strictSame(readTarget('GET', '/a'), { path: '/a', authority: undefined })
  t.strictSame(readTarget('GET', 'HTTP://a:80?q'), { path: '/?q', authority: 'a:80' })
  t.strictSame(readTarget('CONNECT', 'a:80'), { path: '', authority: 'a:80' })
  t.strictSame(readTarget('OPTIONS', '*'), { path: '*', authority: undefined })
  for (const bad of [
    '*',
    'a',
    'ftp://a/',
    'http:///',
    'http://u@a/',
    'http://a/#',
    'http://a\n/',
  ])
    t.equal(readTarget('GET', bad), undefined, bad)
})

t.test('encodings', async (t) => {
  const asked = (value: string, http10 = false): string | undefined =>
    refuseEncoding(['transfer-encoding', value], http10)?.code
  t.equal(refuseEncoding(['x', 'y'], true), undefined)
  t.equal(asked('Chunked'), undefined)
  t.equal(asked('chunked', true), 'BAD_REQUEST')
  t.equal(asked('gzip, chunked'), 'ENCODING_UNSUPPORTED')
  for (const bad of [
    '',
    'gzip',
    'chunked, chunked',
    ',chunked',
    'chunked,',
    '\xa0chunked',
    'chunked;q=1',
  ])
    t.equal(asked(bad), 'BAD_REQUEST', bad)
})

t.test('tunnels', async (t) => {
  t.ok(mayTunnel('websocket'))
  t.ok(mayTunnel('spdy/3.1'))
  for (const bad of [
    undefined,
    '',
    'h2c',
    'H2',
    'HTTP/2.0',
    'TLS/1.2',
    'websocket, h2c',
    'a b',
  ])
    t.notOk(mayTunnel(bad), bad ?? 'none')
})
