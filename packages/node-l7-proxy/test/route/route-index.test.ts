// SPDX-License-Identifier: Apache-2.0
// The index finds the rule that going through the list finds: random lists in any order, random requests.
import {
  MatchKind,
  type NamedMatch,
  RouteMatch,
  type RouteRule,
  RouteTable,
} from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import { compileTable } from '../../src/route/compile.ts'
import { firstMatch, matchRule } from '../../src/route/match.ts'
import { indexedFrom, RouteIndex } from '../../src/route/route-index.ts'
import type { Rule } from '../../src/route/table.ts'
import { rule } from '../support/resources.ts'

const { EXACT, PATH_PREFIX, REGULAR_EXPRESSION } = MatchKind

function compile(rules: RouteRule[]): readonly Rule[] {
  const table = { ...RouteTable.fromPartial({ serviceId: 1 }), hasRoutes: true, rules }
  return compileTable('shop/web:80/TCP', table).producer
}

// Few words, so that rules and requests meet; odd ones, so that every way out of the trie is taken.
const path = fc
  .array(fc.constantFrom('a', 'b', 'ab', '', '.', '*', 'a;x', '%2F'), { maxLength: 4 })
  .map((elements) => elements.map((element) => `/${element}`).join(''))
const tail = fc.constantFrom('', '?', '?q=1', '?q=1&r=/a/b', '/')
const odd = fc.constantFrom('*', '', 'a', '?', '//', '/', '/a?b', 'http://a/b')
const value = fc.oneof({ weight: 9, arbitrary: path }, odd)
const match = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant(EXACT), value }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant(PATH_PREFIX), value }) },
  fc.record({
    kind: fc.constant(REGULAR_EXPRESSION),
    value: fc.constantFrom('/a/.*', '/[ab]', '.*'),
  }),
  fc.constant(undefined),
)
const condition = fc.record({
  path: match,
  method: fc.constantFrom('', '', 'GET', 'POST'),
  headers: fc.constantFrom<NamedMatch[]>(
    [],
    [],
    [{ name: 'x', kind: EXACT, value: '1' }],
  ),
  query: fc.constantFrom<NamedMatch[]>([], [], [{ name: 'q', kind: EXACT, value: '1' }]),
})
const request = fc.record({
  method: fc.constantFrom('GET', 'POST'),
  path: fc.tuple(value, tail).map((parts) => parts.join('')),
  authority: fc.constant('web'),
  headers: fc.constantFrom<string[]>([], ['x', '1']),
})

t.test('the index is the list', async (t) => {
  let found = 0
  fc.assert(
    fc.property(
      fc.array(condition, { minLength: 1, maxLength: 40 }),
      fc.array(request, { minLength: 20, maxLength: 20 }),
      (conditions, requests) => {
        const rules = compile(
          conditions.map((each, i) =>
            rule('', {}, { text: `${i}`, match: RouteMatch.fromPartial(each) }),
          ),
        )
        const index = new RouteIndex(rules)
        for (const each of requests) {
          const want = firstMatch(rules, each)
          if (want !== undefined) found++
          if (index.find(each) !== want)
            throw new Error(
              `${each.path}: ${index.find(each)?.text}, not ${want?.text ?? 'none'}`,
            )
        }
      },
    ),
    { numRuns: 500 },
  )
  t.ok(found > 1000, `${found} requests had a rule`)
})

t.test('long lists have one, consumers too; short ones are gone through', async (t) => {
  const rules = Array.from({ length: indexedFrom }, (_, i) => rule(`/${i}`, {}))
  const consumer = rules.map((each) => ({ ...each, consumerNamespace: 'shop' }))
  const table = compileTable('shop/web:80/TCP', {
    ...RouteTable.fromPartial({ serviceId: 1 }),
    ...{ hasRoutes: true, rules: [...rules.slice(1), ...consumer] },
  })
  t.notOk(table.indexes.has(table.producer))
  const shop = table.consumer.get('shop') ?? []
  t.ok(table.indexes.has(shop))
  const asked = { method: 'GET', path: '/7/x', authority: '', headers: [] }
  t.equal(matchRule(table, 'shop', asked)?.text, 'HTTPRoute shop/test /7')
  t.equal(matchRule(table, 'ops', asked)?.text, 'HTTPRoute shop/test /7')
})

t.test('the deepest paths that are allowed, and longer requests', async (t) => {
  const deepest = '/'.repeat(1024)
  const match = RouteMatch.fromPartial({ path: { kind: EXACT, value: deepest } })
  const index = new RouteIndex(compile([rule('', {}, { match }), rule('/a', {})]))
  const find = (path: string): string | undefined =>
    index.find({ method: 'GET', path, authority: '', headers: [] })?.text
  t.equal(find(deepest), 'HTTPRoute shop/test ')
  t.equal(find('/'.repeat(100_000)), undefined)
  t.equal(find(`/a${'/a'.repeat(50_000)}`), 'HTTPRoute shop/test /a')
})
