// SPDX-License-Identifier: Apache-2.0
// What conditions say to a person: where, what is wrong, and what there is instead.
import t from 'tap'
import { compileYaml } from '../support/objects.ts'

const services = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5], ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
`
const route = (parent: string, backend: string): string => `${services}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec:
  parentRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}, {group: "", kind: Service, ${parent}}]
  rules: [{backendRefs: [{${backend}}]}]
`
const l7 = (name: string, target: string, created: string): string => `
---
apiVersion: mesh.pillion.dev/v1alpha1
kind: L7Service
metadata: {name: ${name}, namespace: shop, creationTimestamp: "${created}"}
spec: {targetRef: {${target}}, protocol: http}
`

/** Message of a condition of an object. */
function said(yaml: string, key: string, type: string): string | undefined {
  const conditions = compileYaml(yaml).conditions.get(key)
  return conditions?.find((condition) => condition.type === type)?.message
}

t.test('a parentRef', async (t) => {
  const of = (parent: string) =>
    said(route(parent, 'name: web, port: 80'), 'HTTPRoute/shop/r', 'Accepted')
  t.equal(of('name: no'), 'spec.parentRefs[1]: Service shop/no does not exist')
  t.equal(
    of('name: web, port: 81'),
    'spec.parentRefs[1]: Service shop/web has no TCP port 81; it has 80 (http), 53/UDP (dns)',
  )
  t.match(of('name: outside'), /^spec.parentRefs\[1\]: .* is of type ExternalName/)
  t.match(of('name: web'), /^valid; Programmed says/, 'valid is not yet in force')
})

t.test('a backendRef', async (t) => {
  const of = (backend: string) =>
    said(route('name: web', backend), 'HTTPRoute/shop/r', 'ResolvedRefs')
  const at = 'spec.rules[0].backendRefs[0]'
  const cost = '; their share of requests is answered with 500'
  const expected = {
    'name: no, port: 80': 'Service shop/no does not exist',
    'name: outside, port: 80': 'Service shop/outside is of type ExternalName',
    'name: web': 'name a port of Service shop/web',
    'name: web, port: 81':
      'Service shop/web has no TCP port 81; it has 80 (http), 53/UDP (dns)',
    'group: example.org, kind: Bucket, name: b':
      'kind example.org/Bucket is not supported, only Service',
  }
  for (const [backend, message] of Object.entries(expected))
    t.equal(of(backend), `${at}: ${message}${cost}`, backend)
})

t.test('a targetRef', async (t) => {
  const of = (target: string, others = '') => {
    const yaml = `${services}${others}${l7('mine', target, '2026-01-02T00:00:00Z')}`
    return said(yaml, 'L7Service/shop/mine', 'Accepted')
  }
  t.equal(of('name: no'), 'spec.targetRef: Service shop/no does not exist')
  t.equal(
    of('name: web, port: 81'),
    'spec.targetRef: Service shop/web has no TCP port 81; it has 80 (http), 53/UDP (dns)',
  )
  t.match(of('name: outside'), /Service shop\/outside has no TCP port; it has none/)
  t.equal(
    of('name: web', l7('first', 'name: web', '2026-01-01T00:00:00Z')),
    'spec.targetRef: every port of it is declared by L7Service first; delete one, or let each name its own port',
  )
})
