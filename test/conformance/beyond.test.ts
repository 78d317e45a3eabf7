// SPDX-License-Identifier: Apache-2.0
// What the standard has and the suite does not ask: expressions, gRPC methods, sessions, mirrors to nowhere; from the objects to
// the backends, as in the suite's own tests.
import t from 'tap'
import type { Ask, Reply } from './app/client.ts'
import { startWorld } from './support/world.ts'

const world = await startWorld()
t.teardown(() => world.stop())

const infra = 'gateway-conformance-infra'
/** A route with these rules; `older` ones win among equals. */
function route(
  name: string,
  rules: string,
  kind = 'HTTPRoute',
  created = '2026-01-02T00:00:00Z',
): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: ${name}, namespace: ${infra}, creationTimestamp: '${created}'}
spec: {parentRefs: [{name: gateway}], rules: [${rules}]}`
}
const to = (version: number, kind = ''): string =>
  `backendRefs: [{name: ${kind}infra-backend-v${version}, port: 8080}]`
const regex = (value: string): string => `type: RegularExpression, value: '${value}'`

async function apply(...yaml: string[]): Promise<ReturnType<typeof world.apply>> {
  return world.apply({ name: '', features: [], expected: [], yaml: yaml.join('\n---') })
}
async function podOf(path: string, more: Partial<Ask> = {}): Promise<string | number> {
  const { echo, status }: Reply = await world.ask({ path, ...more })
  return echo === undefined ? status : echo.pod
}
const pods = ['infra-backend-v1-0', 'infra-backend-v2-0', 'infra-backend-v3-0'] as const

t.test(
  'expressions: between exact paths and prefixes, for headers and queries, too',
  async (t) => {
    await apply(
      route(
        'expressions',
        `{matches: [{path: {type: PathPrefix, value: /}}], ${to(1)}},
       {matches: [{path: {${regex('/users/[0-9]+(/.*)?')}}}], ${to(2)}},
       {matches: [{path: {type: Exact, value: /users/7}}], ${to(3)}},
       {matches: [{headers: [{name: Version, ${regex('v[12]')}}]}], ${to(2)}},
       {matches: [{queryParams: [{name: q, ${regex('[a-z]+')}}]}], ${to(3)}}`,
      ),
    )
    t.equal(await podOf('/users/12'), pods[1])
    t.equal(await podOf('/users/12/posts?q=1'), pods[1], 'before prefix and query')
    t.equal(await podOf('/users/7'), pods[2], 'exact first')
    t.equal(await podOf('/users/ada'), pods[0])
    t.equal(await podOf('/x', { headers: { version: 'v2' } }), pods[1])
    t.equal(await podOf('/x', { headers: { version: 'v3' } }), pods[0])
    t.equal(await podOf('/x?q=abc'), pods[2])
    t.equal(await podOf('/x?q=ABC'), pods[0])
  },
)

t.test('gRPC: a method of any service, expressions', async (t) => {
  await apply(
    route(
      'calls',
      `{matches: [{method: {method: Get}}], ${to(1, 'grpc-')}},
       {matches: [{method: {type: RegularExpression, service: 'shop[.].*', method: 'List|Find.*'}}], ${to(2, 'grpc-')}},
       {matches: [{method: {service: shop.Cart}}], ${to(3, 'grpc-')}}`,
      'GRPCRoute',
    ),
  )
  const call = async (path: string): Promise<string | number | undefined> => {
    const { echo, grpcStatus } = await world.ask({ path, protocol: 'grpc' })
    return echo === undefined ? grpcStatus : echo.pod
  }
  t.equal(await call('/any.Thing/Get'), 'grpc-infra-backend-v1-0')
  t.equal(await call('/shop.Web/FindAll'), 'grpc-infra-backend-v2-0')
  t.equal(await call('/shop.Web/Buy'), 12, 'no rule: UNIMPLEMENTED')
  t.equal(
    await call('/shop.Cart/List'),
    'grpc-infra-backend-v3-0',
    'a name before an expression',
  )
})

t.test('several routes: the older one, then by name, among equals', async (t) => {
  const all = `{matches: [{path: {value: /same}}], `
  await apply(
    route('b', `${all}${to(2)}}`),
    route('c', `${all}${to(3)}}`, 'HTTPRoute', '2026-01-01T00:00:00Z'),
    route('a', `${all}${to(1)}}`),
  )
  t.equal(await podOf('/same'), pods[2], 'the oldest')
  await apply(route('b', `${all}${to(2)}}`), route('a', `${all}${to(1)}}`))
  t.equal(await podOf('/same'), pods[0], 'of one age: a before b')
})

t.test(
  'a session stays with one of two backends; a header carries it, too',
  async (t) => {
    for (const type of ['Cookie', 'Header']) {
      const half = [1, 2].map((n) => `{name: infra-backend-v${n}, port: 8080, weight: 1}`)
      await apply(
        route(
          'sessions',
          `{sessionPersistence: {sessionName: sid, type: ${type}}, backendRefs: [${half.join()}]}`,
        ),
      )
      const first = await world.ask({})
      const given =
        type === 'Cookie'
          ? first.headers['set-cookie']?.split(';')[0]
          : first.headers['sid']
      t.ok(given, type)
      const headers = { [type === 'Cookie' ? 'cookie' : 'sid']: given ?? '' }
      for (let i = 0; i < 20; i++) t.equal(await podOf('/', { headers }), first.echo?.pod)
    }
  },
)

t.test('a mirror to a Service that is not there costs nothing', async (t) => {
  const mirror = `{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}`
  const conditions = await apply(route('mirror', `{filters: [${mirror}], ${to(1)}}`))
  t.equal(await podOf('/'), pods[0])
  t.match(conditions.get(`HTTPRoute/${infra}/mirror`), [
    {},
    { reason: 'BackendNotFound' },
  ])
})

t.test('half of the weight invalid: half of the answers 500', async (t) => {
  await apply(
    route(
      'half',
      `{backendRefs: [{name: infra-backend-v1, port: 8080}, {name: gone, port: 80}]}`,
    ),
  )
  let failed = 0
  for (let i = 0; i < 200; i++) if ((await world.ask({})).status === 500) failed++
  t.ok(failed > 60 && failed < 140, `${failed} of 200`)
})
