// SPDX-License-Identifier: Apache-2.0
// Regular expressions in routes: RE2's, about the whole value, and never slow.
import { MatchKind, RouteMatch, type RouteRule, RouteTable } from '@pillion/contract'
import t from 'tap'
import { compileTable } from '../../src/route/compile.ts'
import { matchRule } from '../../src/route/match.ts'
import { maxTextLength, Pattern } from '../../src/route/pattern.ts'
import { rule } from '../support/resources.ts'

const regex = (value: string): { kind: 3; value: string } => ({
  kind: MatchKind.REGULAR_EXPRESSION,
  value,
})

function matched(
  match: Partial<RouteMatch>,
  path: string,
  headers: string[] = [],
): boolean {
  const rules: RouteRule[] = [
    rule('/', {}, { match: { ...RouteMatch.fromPartial({}), ...match } }),
  ]
  const table = { ...RouteTable.fromPartial({ serviceId: 1 }), hasRoutes: true, rules }
  const request = { method: 'GET', path, authority: 'web.shop', headers }
  return matchRule(compileTable('shop/web:80/TCP', table), '', request) !== undefined
}

t.test('the whole value, the query is no part of a path', async (t) => {
  const path = { path: regex('/v[0-9]+/users/[^/]+') }
  t.ok(matched(path, '/v1/users/ada'))
  t.ok(matched(path, '/v1/users/ada?x=/y'))
  t.notOk(matched(path, '/v1/users/ada/posts'), 'not a part at the end')
  t.notOk(matched(path, '/api/v1/users/ada'), 'nor at the beginning')
  t.ok(matched({ path: regex('/a|/b') }, '/b'), 'alternatives are whole, too')
  t.notOk(matched({ path: regex('/a|/b') }, '/bc'))
})

t.test('headers, Host, query parameters', async (t) => {
  const header = { headers: [{ name: 'Version', ...regex('v[12]') }] }
  t.ok(matched(header, '/', ['version', 'v2']))
  t.ok(matched(header, '/', ['version', 'v9', 'version', 'v1']), 'any line of it')
  t.notOk(matched(header, '/', ['version', 'v22']))
  t.notOk(matched(header, '/'), 'absent is not empty')
  t.ok(matched({ headers: [{ name: 'host', ...regex('.*\\.shop') }] }, '/'))
  const query = { query: [{ name: 'q', ...regex('[a-z]*') }] }
  t.ok(matched(query, '/?q=abc'))
  t.ok(matched(query, '/?q='), 'empty matches')
  t.notOk(matched(query, '/?p=abc'), 'absent does not')
  t.notOk(matched(query, '/?q=ABC'))
})

t.test('the literal beginning is only a short cut', async (t) => {
  const cases = [
    ['/a/b.*', '/a/b', '/a/x'],
    ['/ab*', '/a', '/b'],
    ['/ab?c', '/ac', '/abb'],
    ['/ab{0,2}', '/a', '/abbb'],
    ['/ab+', '/abb', '/a'],
    ['/a|b', 'b', '/b'],
    ['/a(b|c)', '/ac', '/ad'],
    ['(?i)/API', '/api', '/apis'],
    ['/a\\.b', '/a.b', '/axb'],
    ['^/a$', '/a', '/ab'],
    ['[/]a', '/a', 'a'],
    ['', '', 'a'],
  ] as const
  for (const [source, yes, no] of cases) {
    t.ok(new Pattern(source).matches(yes), `${source} is about ${yes}`)
    t.notOk(new Pattern(source).matches(no), `${source} is not about ${no}`)
  }
})

t.test('what stops a backtracking engine takes milliseconds', async (t) => {
  const started = performance.now()
  t.notOk(new Pattern('(a+)+b').matches('a'.repeat(maxTextLength)))
  t.notOk(new Pattern('(x+x+)+y').matches('x'.repeat(maxTextLength)))
  t.notOk(new Pattern('(.*a){20}c').matches('a'.repeat(maxTextLength)))
  t.ok(performance.now() - started < 2000)
})

t.test('longer text matches nothing', async (t) => {
  const pattern = new Pattern('a*')
  t.ok(pattern.matches('a'.repeat(maxTextLength)))
  t.notOk(pattern.matches('a'.repeat(maxTextLength + 1)))
})

t.test('a table with no expression in it is refused and says where', async (t) => {
  t.throws(() => matched({ path: regex('(') }, '/'), {
    message: /HTTPRoute shop\/test .*"\(" is no regular expression/,
  })
})
