// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import type { Compiled } from '../../src/compile/compile.ts'
import { compileYaml, pod, service, slice, snapshotOf } from '../support/objects.ts'

const shop = [
  pod('shop', 'web', '10.244.1.2'),
  service('shop', 'web', '10.96.0.5'),
  slice('shop', 'web', ['10.244.1.2']),
].join('')

const policy = (name: string, spec: string, created = '2026-01-01T00:00:00Z'): string => `
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackendTrafficPolicy
metadata: {name: ${name}, namespace: shop, creationTimestamp: "${created}"}
spec: {targetRefs: [{group: "", kind: Service, name: web}], ${spec}}
`
const l7 = (spec: string): string => `
---
apiVersion: mesh.pillion.dev/v1alpha1
kind: L7Service
metadata: {name: web, namespace: shop}
spec: {targetRef: {name: web}, protocol: http${spec}}
`

const table = (compiled: Compiled) => [...compiled.routes.tables.values()][0]
const verdict = (compiled: Compiled, key: string) => compiled.conditions.get(key)?.[0]

t.test(
  'a retry constraint is the budget of a declared Service, with the standard defaults',
  async (t) => {
    const budget = (spec: string, own = '') =>
      table(compileYaml(shop + l7(own) + policy('p', spec)))?.retryBudget
    t.match(budget('retryConstraint: {budget: {percent: 30, interval: 20s}}'), {
      ...{ percent: 30, intervalMs: 20_000, minRetries: 10, minIntervalMs: 1000 },
    })
    t.match(budget('retryConstraint: {minRetryRate: {count: 5, interval: 2s}}'), {
      ...{ percent: 20, intervalMs: 10_000, minRetries: 5, minIntervalMs: 2000 },
    })
    const own = ', retryBudget: {percent: 50}'
    t.match(
      budget('retryConstraint: {}', own),
      { percent: 50 },
      'the L7Service is about this port',
    )
  },
)

t.test('what cannot be carried out is said', async (t) => {
  const key = 'XBackendTrafficPolicy/shop/p'
  const reason = (text: string) => verdict(compileYaml(text), key)?.reason
  t.equal(reason(shop + policy('p', 'retryConstraint: {}')), 'Accepted')
  t.equal(reason(policy('p', 'retryConstraint: {}')), 'TargetNotFound')
  t.equal(reason(shop + policy('p', 'sessionPersistence: {}')), 'Invalid')
  const older = policy('z', 'retryConstraint: {}', '2025-01-01T00:00:00Z')
  t.equal(reason(shop + older + policy('p', 'retryConstraint: {}')), 'Conflicted')
  const { errors } = snapshotOf(policy('p', 'retryConstraint: {budget: {percent: 101}}'))
  t.equal(errors[0]?.field, 'spec.retryConstraint.budget.percent')
})

t.test('an XMesh is ours by its controller', async (t) => {
  const mesh = (spec: string): string => `
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XMesh
metadata: {name: pillion}
spec: {${spec}}
`
  const ours = 'controllerName: mesh.pillion.dev/operator'
  t.match(verdict(compileYaml(mesh(ours)), 'XMesh//pillion'), { reason: 'Accepted' })
  t.match(verdict(compileYaml(mesh(`${ours}, parametersRef: {}`)), 'XMesh//pillion'), {
    status: 'False',
    reason: 'InvalidParameters',
  })
  t.notOk(
    verdict(compileYaml(mesh('controllerName: example.org/mesh')), 'XMesh//pillion'),
  )
})
