// SPDX-License-Identifier: Apache-2.0
// Which endpoint a request of a declared service reaches: only this node's, near ones, the last resort, the one it had last.
import { L7Protocol, parseAddress, type Resource } from '@pillion/contract'
import t from 'tap'
import { ask, type Backend, httpBackend } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'

const named = (name: string): Promise<Backend> =>
  httpBackend((_request, response) => response.end(name))
const [a, b, c] = [await named('a'), await named('b'), await named('c')]
const zone = (zone: string): Resource => ({
  name: 'node-1',
  body: { $case: 'node', value: { name: 'node-1', zone } },
})
const http = L7Protocol.HTTP

const proxy = await startProxy(
  [
    zone('zone-a'),
    service(1, 'local', http, { localOnly: true }),
    endpoint(1, 'local', a.port, { node: 'node-1' }),
    endpoint(1, 'local', b.port, { node: 'node-2' }),
    // The client's destination is none of its cluster addresses: a node port.
    service(2, 'local-outside', http, {
      ...{ localOnly: true, addresses: [parseAddress('10.96.0.200')] },
    }),
    endpoint(2, 'local-outside', b.port, { node: 'node-2' }),
    service(3, 'local-elsewhere', http, { localOnly: true }),
    endpoint(3, 'local-elsewhere', b.port, { node: 'node-2' }),
    service(4, 'hinted', http),
    endpoint(4, 'hinted', a.port, { hintZones: ['zone-a'] }),
    endpoint(4, 'hinted', b.port, { hintZones: ['zone-b'] }),
    service(5, 'leaving', http),
    endpoint(5, 'leaving', a.port, { terminating: true }),
    service(6, 'sticky', http, { affinitySeconds: 600 }),
    ...[a, b, c].map(({ port }) => endpoint(6, 'sticky', port)),
    service(7, 'routed', http),
    table(7, 'routed', { hasRoutes: true, rules: [rule('/', { sticky: 1 })] }),
    service(8, 'short', http, { affinitySeconds: 1 }),
    endpoint(8, 'short', a.port),
  ],
  ['--max-affinity', '8'],
)
t.teardown(async () => {
  await proxy.stop()
  await Promise.all([a, b, c].map((backend) => backend.close()))
})

/** Who answers `count` requests to the service, each on a connection of its own. */
async function answers(id: number, count = 12, from = 0): Promise<string[]> {
  const replies = await Promise.all(
    Array.from({ length: count }, () => ask(proxy.port, id, '/', { from })),
  )
  const names = replies.map(({ status, body }) => (status === 200 ? body : `${status}`))
  return [...new Set(names)].sort()
}

t.test('internalTrafficPolicy Local', async (t) => {
  t.same(await answers(1), ['a'])
  t.same(await answers(2), ['b'], 'not by a cluster address: every endpoint')
  t.same(await answers(3), ['503'], 'no endpoint of this node, no answer')
})

t.test('topology hints follow the zone of the node', async (t) => {
  t.same(await answers(4), ['a'])
  await proxy.operator.send([zone('zone-b')])
  t.same(await answers(4), ['b'])
  await proxy.operator.send([zone('zone-c')])
  t.same(await answers(4), ['a', 'b'], 'nothing is hinted for it')
})

t.test('an endpoint that terminates serves until another is ready', async (t) => {
  t.same(await answers(5), ['a'])
  await proxy.operator.send([endpoint(5, 'leaving', b.port)])
  t.same(await answers(5), ['b'])
})

t.test('session affinity by client address', async (t) => {
  const own = await answers(6, 12, 1)
  t.equal(own.length, 1)
  t.same(await answers(7, 12, 1), own, 'of the service that a route leads to')
  const others = await Promise.all([2, 3, 4, 5, 6].map((from) => answers(6, 3, from)))
  t.ok(others.every((each) => each.length === 1))
  t.ok(new Set([...own, ...others.flat()]).size > 1, 'clients are spread')
  const gone = [a, b, c].find((_, i) => 'abc'[i] === own[0])
  const name = `shop/sticky:80/TCP|127.0.0.1:${gone?.port}`
  await proxy.operator.send([], [{ kind: 'endpoint', name }])
  const moved = await answers(6, 12, 1)
  t.equal(moved.length, 1)
  t.not(moved[0], own[0])
  await proxy.operator.send([endpoint(6, 'sticky', gone?.port ?? 0)])
  t.same(await answers(6, 12, 1), moved, 'it stays where it moved to')
})

t.test('at --max-affinity clients the longest silent is forgotten', async (t) => {
  for (let from = 10; from < 30; from++) await answers(8, 1, from)
  t.equal(await proxy.metric('pillion_affinity_sessions'), 8)
  t.ok((await proxy.metric('pillion_affinity_forgotten_total')) >= 18)
})
