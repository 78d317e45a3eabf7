// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// Conformance tests of filters: header modifiers, redirects, rewrites, CORS.
import t from 'tap'
import { conformanceTest } from './support/cases.ts'
import { runCase, runCases } from './support/run.ts'
import { startWorld, type World } from './support/world.ts'

const world = await startWorld()
t.teardown(() => world.stop())

const names = [
  'HTTPRouteRequestHeaderModifier',
  'HTTPRouteBackendRequestHeaderModifier',
  'HTTPRouteResponseHeaderModifier',
  'HTTPRouteRedirectHostAndStatus',
  'HTTPRouteRedirectPath',
  'HTTPRouteRedirectPort',
  'HTTPRouteRedirectScheme',
  'HTTPRoute303Redirect',
  'HTTPRoute307Redirect',
  'HTTPRoute308Redirect',
  'HTTPRouteRewriteHost',
  'HTTPRouteRewritePath',
  'HTTPRouteBackendRequestRedirect',
  'HTTPRouteBackendURLRewrite',
  'HTTPRouteCORS',
]

for (const name of names) t.test(name, (t) => runCases(t, world, conformanceTest(name)))

t.test('HTTPRouteRedirectPortAndScheme, on port 80', async (t) => {
  // The listeners of ports 8080 and 443 are the Gateway's: of a Service with one port the first route is left.
  const { expected, ...test } = conformanceTest('HTTPRouteRedirectPortAndScheme')
  const route = test.yaml
    .split('---')
    .find((each) => each.includes('name: http-route-for-listener-on-port-80\n'))
  await world.apply({ ...test, yaml: route ?? '', expected: [] })
  for (const want of expected.slice(0, 5)) await runCase(t, world, want)
})

t.test('GRPCRouteRequestHeaderModifier', async (t) => {
  // Three of its rules have the same match, so the first is in force (rule order); the suite does not compare what it lists.
  await world.apply(conformanceTest('GRPCRouteRequestHeaderModifier'))
  const call = (
    method: string,
    headers: Record<string, string>,
  ): ReturnType<World['ask']> =>
    world.ask({
      ...{ protocol: 'grpc', headers },
      path: `/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/${method}`,
    })
  const set = await call('Echo', { 'x-header-set': 'old', 'x-header-remove': 'stays' })
  t.equal(set.grpcStatus, 0)
  t.equal(set.echo?.headers['x-header-set'], 'set-overwrites-values')
  t.equal(set.echo?.headers['x-header-remove'], 'stays', 'of a rule that is not in force')
  const many = await call('EchoTwo', {
    ...{
      'x-header-set-2': 'old',
      'x-header-add-2': 'first',
      'x-header-remove-2': 'gone',
    },
    'some-other-header': 'kept',
  })
  t.equal(many.echo?.pod, 'grpc-infra-backend-v2-0')
  t.match(many.echo?.headers, {
    ...{ 'x-header-set-1': 'header-set-1', 'x-header-set-2': 'header-set-2' },
    ...{ 'x-header-add-1': 'header-add-1', 'x-header-add-2': 'first,header-add-2' },
    'some-other-header': 'kept',
  })
  t.equal(many.echo?.headers['x-header-remove-2'], undefined)
})
