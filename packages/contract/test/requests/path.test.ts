// SPDX-License-Identifier: Apache-2.0
// Hostile spellings of paths. What is decided about is what is sent, so the table is the contract with every server behind.
import t from 'tap'
import { normalisePath, strictPath, withoutParameters } from '../../src/requests/path.ts'

/** Sent; what routes and endpoints see; the same where policy is about paths, or why not. */
const table: [sent: string, normal: string, strict: string | { problem: string }][] = [
  ['/', '/', '/'],
  ['/a/b?x=/../y', '/a/b?x=/../y', '/a/b?x=/../y'],
  ['*', '*', '*'],
  ['/a/./b', '/a/b', '/a/b'],
  ['/a/../b', '/b', '/b'],
  ['/a/..', '/', '/'],
  ['/a/.', '/a/', '/a/'],
  ['/../../etc', '/etc', '/etc'],
  ['/public/../admin?q', '/admin?q', '/admin?q'],
  ['/public/%2e%2e/admin', '/admin', '/admin'],
  ['/public/%2E./admin', '/admin', '/admin'],
  ['/public/.%2e/admin', '/admin', '/admin'],
  ['/%61dmin', '/admin', '/admin'],
  ['/adm%69n%7e', '/admin~', '/admin~'],
  ['/a%3ab', '/a%3Ab', '/a%3Ab'],
  ['/%252e%252e/admin', '/%252e%252e/admin', '/%252e%252e/admin'],
  ['/%25%32%65', '/%252e', '/%252e'],
  ['//admin', '//admin', '/admin'],
  ['/a///b', '/a///b', '/a/b'],
  ['/public//../admin', '/public/admin', '/admin'],
  ['//', '//', '/'],
  ['/.well-known/x', '/.well-known/x', '/.well-known/x'],
  ['/a/...', '/a/...', '/a/...'],
  ['/a/..b', '/a/..b', '/a/..b'],
  ['/a;x=1/b', '/a;x=1/b', '/a;x=1/b'],
  ['/%C3%A9', '/%C3%A9', '/%C3%A9'],
  ['/%c3%a9', '/%C3%A9', '/%C3%A9'],
  [
    '/public%2f..%2fadmin',
    '/public%2F..%2Fadmin',
    { problem: 'encoded slash or backslash' },
  ],
  ['/public%2Fadmin', '/public%2Fadmin', { problem: 'encoded slash or backslash' }],
  [
    '/public%5c..%5cadmin',
    '/public%5C..%5Cadmin',
    { problem: 'encoded slash or backslash' },
  ],
  ['/public\\..\\admin', '/public\\..\\admin', { problem: 'backslash' }],
  ['/..;/admin', '/..;/admin', { problem: 'dot segment with parameters' }],
  [
    '/public/..;a=b/admin',
    '/public/..;a=b/admin',
    { problem: 'dot segment with parameters' },
  ],
  [
    '/public/%2e%2e;/admin',
    '/public/..;/admin',
    { problem: 'dot segment with parameters' },
  ],
  ['/admin%00', '/admin%00', { problem: 'control character' }],
  ['/admin%0a', '/admin%0A', { problem: 'control character' }],
  ['/admin%7f', '/admin%7F', { problem: 'control character' }],
  ['/admin\t', '/admin\t', { problem: 'control character' }],
  ['/admin%', '/admin%', { problem: 'broken percent-encoding' }],
  ['/admin%2', '/admin%2', { problem: 'broken percent-encoding' }],
  ['/%zz', '/%zz', { problem: 'broken percent-encoding' }],
  ['/%u002e/admin', '/%u002e/admin', { problem: 'broken percent-encoding' }],
  ['/public/%c0%ae%c0%ae/admin', '/public/%C0%AE%C0%AE/admin', { problem: 'not UTF-8' }],
  ['/%ff', '/%FF', { problem: 'not UTF-8' }],
  ['/\u00e9', '/\u00e9', { problem: 'not UTF-8' }],
  ['/public#/admin', '/public#/admin', { problem: 'fragment' }],
  ['admin', 'admin', { problem: 'not a path' }],
  ['http://x/admin', 'http://x/admin', { problem: 'not a path' }],
  ['', '', { problem: 'not a path' }],
]

for (const [sent, normal, strict] of table) {
  t.test(JSON.stringify(sent), (t) => {
    t.equal(normalisePath(sent), normal)
    t.strictSame(strictPath(sent), typeof strict === 'string' ? { path: strict } : strict)
    // What was brought into form stays as it is.
    t.equal(normalisePath(normal), normal)
    if (typeof strict === 'string') t.strictSame(strictPath(strict), { path: strict })
    t.end()
  })
}

t.test('time is linear', (t) => {
  const started = performance.now()
  for (const part of ['a', '/a', '/../', '%2e', '//', '/.', ';'])
    strictPath(`/${part.repeat(60_000 / part.length)}\0`)
  t.ok(performance.now() - started < 1000)
  t.end()
})

t.test('parameters of segments', (t) => {
  t.equal(withoutParameters('/admin;x=1/b;y'), '/admin/b')
  t.end()
})
