// SPDX-License-Identifier: Apache-2.0
// Precedence of matches, and the forms that gRPC matches take.
import { MatchKind } from '@pillion/contract'
import t from 'tap'
import {
  anyHttp,
  type GrpcMatch,
  grpcMatch,
  type HttpMatch,
  httpMatch,
  precedence,
} from '../../src/compile/matches.ts'

const http = (more: Partial<HttpMatch>): HttpMatch => ({ ...anyHttp, ...more })
const path = (type: HttpMatch['path']['type'], value: string): Partial<HttpMatch> => ({
  path: { type, value },
})
const value = (name: string): { type: 'Exact'; name: string; value: string } => ({
  ...{ type: 'Exact', name, value: '1' },
})

t.test('HTTPRoute: each goes before the next', async (t) => {
  const order = [
    http(path('Exact', '/a')),
    http(path('RegularExpression', '/long-expression.*')),
    http({ ...path('RegularExpression', '/e.*'), method: 'GET' }),
    http(path('RegularExpression', '/e.*')),
    http(path('PathPrefix', '/prefix/that/is/the/longest/of/all')),
    http({ ...path('PathPrefix', '/p'), method: 'GET', headers: [value('a')] }),
    http({ ...path('PathPrefix', '/p'), method: 'GET' }),
    http({ ...path('PathPrefix', '/p'), headers: [value('a'), value('b')] }),
    http({
      ...path('PathPrefix', '/p'),
      headers: [value('a')],
      queryParams: [value('q')],
    }),
    http({ ...path('PathPrefix', '/p'), headers: [value('a')] }),
    http({ ...path('PathPrefix', '/p'), queryParams: [value('q')] }),
    http(path('PathPrefix', '/p')),
    http({}),
  ].map((match) => httpMatch(match).rank)
  for (const [i, rank] of order.entries()) {
    for (const later of order.slice(i + 1)) {
      t.ok(precedence(rank, later) < 0, `${rank.join()} before ${later.join()}`)
      t.ok(precedence(later, rank) > 0)
    }
  }
})

t.test('of two matches of one header the first counts, whatever its case', async (t) => {
  const headers = [value('Version'), { ...value('version'), value: '2' }]
  const { match, rank } = httpMatch(http({ headers }))
  t.same(match.headers, [{ name: 'version', kind: MatchKind.EXACT, value: '1' }])
  t.equal(rank[3], 1)
})

const grpc = (
  type: 'Exact' | 'RegularExpression',
  service?: string,
  method?: string,
): GrpcMatch => ({ headers: [], method: { type, service, method } })

t.test('GRPCRoute: paths', async (t) => {
  const { EXACT, PATH_PREFIX, REGULAR_EXPRESSION } = MatchKind
  const cases: readonly (readonly [GrpcMatch, MatchKind, string])[] = [
    [{ headers: [] }, PATH_PREFIX, '/'],
    [grpc('Exact', 'a.B'), PATH_PREFIX, '/a.B'],
    [grpc('Exact', 'a.B', 'Get'), EXACT, '/a.B/Get'],
    [grpc('Exact', undefined, 'Get'), REGULAR_EXPRESSION, '/[^/]+/Get'],
    [grpc('RegularExpression', 'a|b'), REGULAR_EXPRESSION, '/(?:a|b)/[^/]+'],
    [grpc('RegularExpression', undefined, 'G.*'), REGULAR_EXPRESSION, '/[^/]+/(?:G.*)'],
    [grpc('RegularExpression', 'a', 'b'), REGULAR_EXPRESSION, '/(?:a)/(?:b)'],
  ]
  for (const [match, kind, value] of cases)
    t.same(grpcMatch(match).match.path, { kind, value })
})

t.test('GRPCRoute: names before expressions, the longer first', async (t) => {
  const order = [
    grpc('Exact', 'aa.Long', 'Get'),
    grpc('Exact', 'aa.Long'),
    grpc('Exact', 'a.B', 'GetLong'),
    grpc('Exact', 'a.B', 'Get'),
    grpc('Exact', 'a.B'),
    grpc('RegularExpression', '.*[.]expression', 'G.*'),
    grpc('RegularExpression', '.*'),
    grpc('Exact', undefined, 'Get'),
    { headers: [value('a')] },
    { headers: [] },
  ].map((match) => grpcMatch(match).rank)
  for (const [i, rank] of order.entries()) {
    for (const later of order.slice(i + 1))
      t.ok(precedence(rank, later) < 0, `${rank.join()} before ${later.join()}`)
  }
})
