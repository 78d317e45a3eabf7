// SPDX-License-Identifier: Apache-2.0
import { judgedBit } from '@pillion/contract'
import t from 'tap'
import type { Compiled } from '../../src/compile/compile.ts'
import { compileYaml } from '../support/objects.ts'

const pods = ['web', 'cart', 'admin']
  .map(
    (name) => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, uid: ${name}, labels: {app: ${name}}}
spec: {nodeName: node-1, containers: [{}]}
---`,
  )
  .join('')

const policy = (name: string, spec: string): string => `
apiVersion: mesh.pillion.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
---`

const cart = 'from: [{podSelector: {matchLabels: {app: cart}}}]'
const web = 'selector: {matchLabels: {app: web}}'

function numberOf({ workloads }: Compiled, app: string): number {
  const found = [...workloads.identities.values()].find(
    ({ labels }) => labels['app'] === app,
  )
  return found?.id ?? 0
}

function ingress(compiled: Compiled, app: string): string[] {
  const { subjects } = compiled.policies
  const entries = subjects.get(String(numberOf(compiled, app)))?.ingress?.entries ?? []
  return entries.map(({ peer, action }) => `${action === 2 ? 'deny' : 'allow'} ${peer}`)
}

t.test('in the kernel, a permission is for judged connections alone', (t) => {
  const compiled = compileYaml(
    pods + policy('web', `{${web}, rules: [{${cart}, http: [{methods: [GET]}]}]}`),
  )
  t.strictSame(ingress(compiled, 'web'), [
    `allow ${numberOf(compiled, 'cart') + judgedBit}`,
  ])
  t.end()
})

t.test('a denial is for all others', (t) => {
  const compiled = compileYaml(
    pods +
      policy(
        'no',
        `{${web}, action: Deny, rules: [{${cart}, http: [{methods: [PUT]}]}]}`,
      ),
  )
  t.strictSame(ingress(compiled, 'web'), [`deny ${numberOf(compiled, 'cart')}`])
  t.end()
})

t.test('the second number has all that the first one has elsewhere', (t) => {
  const compiled = compileYaml(
    pods +
      policy('web', `{${web}, rules: [{${cart}, http: [{}]}]}`) +
      policy('admin', `{selector: {matchLabels: {app: admin}}, rules: [{${cart}}]}`) +
      `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: shop}
spec: {podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}
`,
  )
  const id = numberOf(compiled, 'cart')
  t.strictSame(ingress(compiled, 'admin'), [`allow ${id}`, `allow ${id + judgedBit}`])
  const { subjects } = compiled.policies
  const [own, judged] = [id, id + judgedBit].map(
    (each) => subjects.get(String(each))?.egress,
  )
  t.ok(own)
  t.strictSame(judged, own, 'egress policy is no way out')
  t.strictSame(
    [...compiled.policies.requests.keys()],
    [String(numberOf(compiled, 'web'))],
  )
  t.end()
})

t.test(
  'claims without an issuer: nothing is allowed, what is denied stays denied',
  (t) => {
    const http = 'http: [{methods: [GET], claims: [{claim: [a]}]}]'
    const compiled = compileYaml(
      pods +
        policy('allow', `{${web}, rules: [{${cart}, ${http}}]}`) +
        policy('deny', `{${web}, action: Deny, rules: [{${cart}, ${http}}]}`),
    )
    const [request] = compiled.policies.requests.values()
    t.equal(request?.isolation, 'AccessPolicy shop/allow')
    t.match(request?.rules, [
      { deny: true, http: [{ methods: ['GET'], claims: [], providers: [] }] },
    ])
    for (const name of ['allow', 'deny']) {
      t.match(compiled.conditions.get(`AccessPolicy/shop/${name}`)?.at(-1), {
        ...{ type: 'PartiallyInvalid', reason: 'NoTokenIssuer' },
      })
    }
    t.end()
  },
)

t.test('a rule about no TCP port says nothing about requests', (t) => {
  const compiled = compileYaml(
    pods +
      policy(
        'web',
        `{${web}, rules: [{${cart}, ports: [{port: 53, protocol: UDP}]}, {${cart}, ports: [{port: 80, endPort: 90}], http: [{}]}]}`,
      ),
  )
  const [request] = compiled.policies.requests.values()
  t.strictSame(
    request?.rules.map(({ text, ports }) => [text, ports]),
    [['AccessPolicy shop/web rules[1]', [{ first: 80, last: 90 }]]],
  )
  t.end()
})
