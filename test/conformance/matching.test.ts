// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// Conformance tests that are only cases: routes, requests, and what must come of them.
import t from 'tap'
import { conformanceTest } from './support/cases.ts'
import { runCases } from './support/run.ts'
import { startWorld } from './support/world.ts'

const world = await startWorld()
t.teardown(() => world.stop())

const names = [
  'HTTPRouteSimpleSameNamespace',
  'HTTPRouteMatching',
  'HTTPRouteExactPathMatching',
  'HTTPRouteHeaderMatching',
  'HTTPRouteMethodMatching',
  'HTTPRouteMatchingAcrossRoutes',
  'HTTPRoutePathMatchOrder',
  'HTTPRouteQueryParamMatching',
  'HTTPRouteNamedRule',
  'HTTPRouteNoBackendRefs',
  'HTTPRouteInvalidNonExistentBackendRef',
  'HTTPRouteInvalidBackendRefUnknownKind',
  'GRPCExactMethodMatching',
  'GRPCRouteHeaderMatching',
  'GRPCRouteNamedRule',
]

for (const name of names) t.test(name, (t) => runCases(t, world, conformanceTest(name)))
