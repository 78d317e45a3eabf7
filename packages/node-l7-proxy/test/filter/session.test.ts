// SPDX-License-Identifier: Apache-2.0
// Session tokens (GEP-1619): who gets one, what it is good for, when it ends.
import { L7Protocol } from '@pillion/contract'
import t from 'tap'
import type { Endpoint } from '../../src/cluster/endpoint.ts'
import { resumeSession, type Session, sessionField } from '../../src/filter/session.ts'
import { noFilters } from '../../src/route/compile-filters.ts'
import { compileTable } from '../../src/route/compile.ts'
import type { BackendRef, Rule, SessionRule } from '../../src/route/table.ts'
import { rule } from '../support/resources.ts'
import { RouteTable } from '@pillion/contract'

const endpoint = (name: string): Endpoint => ({ name }) as Endpoint
const [a, b, c] = [endpoint('a|1'), endpoint('a|2'), endpoint('b|1')]
const services = (
  ready: Record<string, Endpoint[]>,
): Parameters<typeof resumeSession>[2] =>
  new Map(
    Object.entries(ready).map(([name, list]) => [
      name,
      { ready: list, readyOutside: list, clusterAddresses: new Set<string>() },
    ]),
  )
const all = services({ a: [a, b], b: [c] })
const backend = (servicePort: string): BackendRef => ({
  ...{ servicePort, serviceId: 1, cumulativeWeight: 1, filters: noFilters },
  protocol: L7Protocol.UNSPECIFIED,
})

const cookie: SessionRule = {
  ...{ name: 's', kind: 'cookie', permanent: false, absoluteSeconds: 0, idleSeconds: 0 },
}
function ruleWith(session: SessionRule): Rule {
  const table = { ...RouteTable.fromPartial({ serviceId: 1 }), rules: [rule('/', {})] }
  const [first] = compileTable('x', { ...table, hasRoutes: true }).producer
  if (first === undefined) throw new Error('no rule')
  return { ...first, backends: [backend('a'), backend('b')], session }
}

/** What the client sends after it was answered by `by` at second `at`. */
function sent(
  session: SessionRule,
  by: Endpoint,
  at: number,
  before?: Session,
): string[] {
  const [name = '', value = ''] = sessionField(session, before, by, at)
  return session.kind === 'header'
    ? [name, value]
    : ['cookie', `other=1; ${value.split(';')[0]}; more=2`]
}

t.test('a client stays with its endpoint, whatever the backend', async (t) => {
  for (const kind of ['cookie', 'header'] as const) {
    const session = { ...cookie, kind }
    for (const each of [a, b, c]) {
      const found = resumeSession(ruleWith(session), sent(session, each, 100), all, 200)
      t.equal(found?.endpoint, each, kind)
      t.equal(found?.backend.servicePort, each === c ? 'b' : 'a')
    }
  }
})

t.test('none, nonsense, and endpoints that are gone', async (t) => {
  const of = (headers: string[], ready = all): Session | undefined =>
    resumeSession(ruleWith(cookie), headers, ready, 200)
  t.equal(of([]), undefined)
  t.equal(of(['cookie', 's=']), undefined)
  t.equal(of(['cookie', 's=x.y.z']), undefined)
  t.equal(of(['cookie', 's=AAAAAAAAAAAAAAAA.2s.2s']), undefined)
  t.equal(of(sent(cookie, a, 100), services({ a: [b], b: [c] })), undefined, 'not ready')
  t.equal(of(['cookie', 'x=1', ...sent(cookie, b, 100)])?.endpoint, b, 'fields of HTTP/2')
})

t.test('time-outs', async (t) => {
  const absolute = { ...cookie, absoluteSeconds: 60 }
  const idle = { ...cookie, idleSeconds: 10 }
  const at = (session: SessionRule, now: number): Session | undefined =>
    resumeSession(ruleWith(session), sent(session, a, 100), all, now)
  t.ok(at(absolute, 160))
  t.equal(at(absolute, 161), undefined)
  t.ok(at(idle, 110))
  t.equal(at(idle, 111), undefined)
  const used = at(idle, 110)
  t.ok(
    resumeSession(ruleWith(idle), sent(idle, a, 110, used), all, 120),
    'each use renews',
  )
  t.equal(used?.startedSeconds, 100)
})

t.test('a token is given when there is something to say', async (t) => {
  const kept = { backend: backend('a'), endpoint: a, startedSeconds: 100 }
  t.same(sessionField(cookie, kept, a, 150), [])
  t.match(sessionField(cookie, kept, b, 150), [
    'set-cookie',
    /^s=[\w-]{16}\.\w+\.\w+; Path=\/; HttpOnly$/,
  ])
  const permanent = { ...cookie, permanent: true, absoluteSeconds: 60, idleSeconds: 5 }
  const [, value] = sessionField(permanent, kept, a, 150)
  t.match(value, /; Max-Age=10$/, 'what is left of it')
})
