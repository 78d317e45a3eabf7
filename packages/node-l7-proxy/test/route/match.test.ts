// SPDX-License-Identifier: Apache-2.0
import { MatchKind, RouteMatch } from '@pillion/contract'
import t from 'tap'
import { compileTable, implicitTable } from '../../src/route/compile.ts'
import { matchRule, pickBackend } from '../../src/route/match.ts'
import type { Table } from '../../src/route/table.ts'
import { rule } from '../support/resources.ts'
import { RouteTable } from '@pillion/contract'

function tableOf(...rules: RouteTable['rules']): Table {
  return compileTable('shop/web:80/TCP', {
    ...RouteTable.fromPartial({ serviceId: 1 }),
    hasRoutes: true,
    rules,
  })
}

function pick(
  table: Table,
  path: string,
  more: { method?: string; headers?: string[]; authority?: string; from?: string } = {},
): string | undefined {
  const request = {
    method: more.method ?? 'GET',
    path,
    authority: more.authority ?? 'web',
    headers: more.headers ?? [],
  }
  return matchRule(table, more.from ?? '', request)?.text
}

t.test('prefixes match by path element (HTTPRouteMatching)', async (t) => {
  const table = tableOf(rule('/v2', {}), rule('/slash/', {}), rule('/', {}))
  t.equal(pick(table, '/v2'), 'HTTPRoute shop/test /v2')
  t.equal(pick(table, '/v2/'), 'HTTPRoute shop/test /v2')
  t.equal(pick(table, '/v2/x?y=1'), 'HTTPRoute shop/test /v2')
  t.equal(pick(table, '/v2?y=1'), 'HTTPRoute shop/test /v2')
  t.equal(pick(table, '/v2example'), 'HTTPRoute shop/test /')
  t.equal(pick(table, '/foo/v2/example'), 'HTTPRoute shop/test /')
  t.equal(
    pick(table, '/slash'),
    'HTTPRoute shop/test /slash/',
    '"/slash/" and "/slash" are the same prefix',
  )
})

t.test('exact paths, query not part of them', async (t) => {
  const table = tableOf(
    rule(
      '/one',
      {},
      {
        match: RouteMatch.fromPartial({ path: { kind: MatchKind.EXACT, value: '/one' } }),
      },
    ),
  )
  t.ok(pick(table, '/one'))
  t.ok(pick(table, '/one?x'))
  t.notOk(pick(table, '/one/'))
  t.notOk(pick(table, '/onetwo'))
})

t.test('method, headers (names without case, values with), host', async (t) => {
  const match = RouteMatch.fromPartial({
    method: 'POST',
    headers: [{ name: 'Version', kind: MatchKind.EXACT, value: 'Two' }],
  })
  const table = tableOf(
    rule('x', {}, { match, text: 'both' }),
    rule(
      'x',
      {},
      {
        text: 'host',
        match: RouteMatch.fromPartial({
          headers: [{ name: 'host', kind: MatchKind.EXACT, value: 'a.b' }],
        }),
      },
    ),
  )
  t.equal(pick(table, '/', { method: 'POST', headers: ['version', 'Two'] }), 'both')
  t.equal(
    pick(table, '/', { method: 'POST', headers: ['version', 'one', 'version', 'Two'] }),
    'both',
  )
  t.notOk(pick(table, '/', { method: 'POST', headers: ['version', 'two'] }))
  t.notOk(pick(table, '/', { method: 'GET', headers: ['version', 'Two'] }))
  t.equal(pick(table, '/', { authority: 'a.b' }), 'host')
})

t.test(
  'query parameters: all of a match, decoded, the first of a name (MeshHTTPRouteQueryParamMatching)',
  async (t) => {
    const match = RouteMatch.fromPartial({
      query: [
        { name: 'animal', kind: MatchKind.EXACT, value: 'blue whale' },
        { name: 'color', kind: MatchKind.EXACT, value: 'blue' },
      ],
    })
    const table = tableOf(rule('q', {}, { match }))
    t.ok(pick(table, '/x?animal=blue%20whale&color=blue'))
    t.ok(pick(table, '/x?color=blue&animal=blue+whale&animal=dog'))
    t.notOk(pick(table, '/x?animal=blue%20whale'))
    t.notOk(pick(table, '/x?animal=dog&animal=blue%20whale&color=blue'))
    t.notOk(pick(table, '/x'))
    t.notOk(pick(table, '/x?animal=%ff&color=blue'))
  },
)

t.test('the first rule in the order given wins', async (t) => {
  const table = tableOf(
    rule('/', {}, { text: 'first' }),
    rule('/', {}, { text: 'second' }),
  )
  t.equal(pick(table, '/'), 'first')
})

t.test('a consumer set replaces the producer set, for its namespace only', async (t) => {
  const table = tableOf(
    rule('/', {}, { text: 'producer' }),
    rule('/c', {}, { text: 'consumer', consumerNamespace: 'other' }),
  )
  t.equal(pick(table, '/c'), 'producer')
  t.equal(pick(table, '/c', { from: 'other' }), 'consumer')
  t.equal(pick(table, '/', { from: 'other' }), undefined)
})

t.test(
  'a table of consumer rules only leaves everybody else with the service',
  async (t) => {
    const table = tableOf(rule('/', {}, { text: 'consumer', consumerNamespace: 'other' }))
    t.equal(pick(table, '/'), 'default')
  },
)

t.test(
  'no route: the service itself; routes without rules: nothing matches',
  async (t) => {
    t.equal(pick(implicitTable('shop/web:80/TCP', 1), '/anything'), 'default')
    t.equal(pick(tableOf(), '/'), undefined)
  },
)

t.test('weights, zero included', async (t) => {
  const table = tableOf(rule('/', { one: 7, none: 0, '': 3 }))
  const [first] = table.producer
  if (first === undefined) throw new Error('no rule')
  t.equal(pickBackend(first, 0)?.servicePort, 'shop/one:80/TCP')
  t.equal(pickBackend(first, 0.699)?.servicePort, 'shop/one:80/TCP')
  const invalid = pickBackend(first, 0.7)
  t.ok(invalid)
  t.equal(invalid?.servicePort, undefined)
  const [empty] = tableOf(rule('/', { none: 0 })).producer
  if (empty === undefined) throw new Error('no rule')
  t.equal(pickBackend(empty, 0.5), undefined)
})

t.test('what cannot be expressed is refused with the name of the rule', async (t) => {
  t.throws(() => tableOf(rule('/', {}, { filters: [{ body: undefined }] })), /filter/)
  t.throws(
    () =>
      tableOf(
        rule(
          '/',
          {},
          {
            retry: {
              attempts: 1,
              codes: [],
              grpcCodes: ['NOPE'],
              backoffMs: 0,
              perTryTimeoutMs: 0,
            },
          },
        ),
      ),
    /NOPE/,
  )
})
