// SPDX-License-Identifier: Apache-2.0
// XMesh.status.supportedFeatures says what the conformance tests show, no more and no less.
import t from 'tap'
import { supportedFeatures } from '../../packages/operator/src/compile/traffic-policies.ts'
import { conformanceNames, conformanceTest } from './support/cases.ts'

/** Of Gateways, which are other people's; and ReferenceGrant, which GEP-1294 does not ask of a mesh. */
const others = new Set(['Gateway', 'GatewayPort8080', 'ReferenceGrant'])

t.test('every feature of the tests that run here is named, and no other', async (t) => {
  const shown = conformanceNames.flatMap((name) => conformanceTest(name).features)
  const wanted = [...new Set(shown)].filter((name) => !others.has(name)).sort()
  t.same([...supportedFeatures].sort(), wanted)
})
