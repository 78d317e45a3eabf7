// SPDX-License-Identifier: Apache-2.0
// Policies in Shadow mode: nothing is in force of them, and their shadow is what enforcing them would be.
import type { DirectionPolicy, SubjectPolicy } from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import { parseObject, type ApiKind, type ApiObject } from '../../src/api/object.ts'
import { compile, emptyPools, type Compiled } from '../../src/compile/compile.ts'
import { ObjectIndex } from '../../src/index/objects.ts'
import { compileYaml, node, pod } from '../support/objects.ts'

const pods = [
  node('node-1', '10.245.0.1'),
  pod('shop', 'web', '10.244.1.2'),
  pod('shop', 'api', '10.244.1.3'),
].join('')

const network = (name: string, spec: string, annotations = '{}'): string => `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ${name}, namespace: shop, annotations: ${annotations}}
spec: ${spec}
`
const access = (name: string, spec: string): string => `
---
apiVersion: mesh.pillion.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
`

const shadowMode = '{mesh.pillion.dev/mode: Shadow}'
const apiOnly = '{podSelector: {matchLabels: {app: api}}}'

/** The policy of the pod's identity, with texts for ids. */
function policyOf(compiled: Compiled, app: string) {
  const identity = [...compiled.workloads.identities.values()].find(
    ({ labels }) => labels['app'] === app,
  )
  const policy = compiled.policies.subjects.get(String(identity?.id))
  return policy && byText(compiled, policy)
}

const directions = ['ingress', 'egress', 'shadowIngress', 'shadowEgress'] as const

function byText(compiled: Compiled, policy: SubjectPolicy) {
  const text = (id: number): string => compiled.policies.rules.get(String(id))?.text ?? ''
  const say = (direction: DirectionPolicy | undefined) =>
    direction && {
      isolation: direction.isolated ? text(direction.isolationRule) : undefined,
      entries: direction.entries
        .map(
          ({ rule, action, peer, protocol, port, portBits }) =>
            `${action} ${peer} ${protocol} ${port}/${portBits} ${text(rule)}`,
        )
        .sort(),
    }
  return Object.fromEntries(directions.map((name) => [name, say(policy[name])]))
}

t.test('a NetworkPolicy by its annotation', async (t) => {
  const compiled = compileYaml(pods + network('deny', apiOnly, shadowMode))
  t.same(policyOf(compiled, 'api'), {
    ingress: undefined,
    egress: undefined,
    shadowIngress: { isolation: 'NetworkPolicy shop/deny ingress', entries: [] },
    shadowEgress: undefined,
  })
  t.same(
    [...compiled.policies.rules.values()].map(({ text, shadow }) => [text, shadow]),
    [['NetworkPolicy shop/deny ingress', true]],
  )
  const [accepted] = compiled.conditions.get('NetworkPolicy/shop/deny') ?? []
  t.match(accepted, { status: 'True', message: /pillion policy shadow deny -n shop/ })
})

t.test('a word that is no mode enforces, and is told', async (t) => {
  for (const [mode, told] of [
    ['shadow', true],
    ['""', true],
    ['Enforce', false],
  ] as const) {
    const annotations = `{mesh.pillion.dev/mode: ${mode}}`
    const compiled = compileYaml(pods + network('deny', apiOnly, annotations))
    t.ok(policyOf(compiled, 'api')?.['ingress'], mode)
    t.notOk(policyOf(compiled, 'api')?.['shadowIngress'], mode)
    const [, second] = compiled.conditions.get('NetworkPolicy/shop/deny') ?? []
    t.equal(second?.type, told ? 'PartiallyInvalid' : undefined, mode)
    if (told) t.match(second?.message, /neither "Enforce" nor "Shadow".* is enforced/)
  }
})

t.test('beside one that is enforced, the shadow is both', async (t) => {
  const peers =
    '[{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 81}]}]'
  const compiled = compileYaml(
    pods +
      network('a', `{podSelector: {}, ingress: [{ports: [{port: 80}, {port: 81}]}]}`) +
      access('b', `{mode: Shadow, action: Deny, rules: ${peers}}`) +
      access('c', `{mode: Shadow, selector: {matchLabels: {app: api}}, rules: []}`),
  )
  const api = policyOf(compiled, 'api')
  const [one, two] = ['1 0 6 80/16', '1 0 6 81/16'].map(
    (entry) => `${entry} NetworkPolicy shop/a ingress[0]`,
  )
  t.same(api?.['ingress'], {
    isolation: 'NetworkPolicy shop/a ingress',
    entries: [one, two],
  })
  const shadow = api?.['shadowIngress']
  t.equal(shadow?.isolation, 'AccessPolicy shop/c', 'who would refuse, not who does')
  t.same(shadow?.entries.slice(0, 2), [one, two])
  t.match(shadow?.entries[2], /^2 \d+ 6 81\/16 AccessPolicy shop\/b rules\[0\]$/)
  t.equal(shadow?.entries.length, 3)
})

t.test('another mode, and nothing else, in a step from the one before', async (t) => {
  const { index, compiled } = compileAll([networkPolicy(0, 'api', 'Ingress', 'Enforce')])
  const text = 'NetworkPolicy shop/policy-0 ingress'
  const rule = (of: Compiled) =>
    [...of.policies.rules.values()].find((r) => r.text === text)
  const upserts = [networkPolicy(0, 'api', 'Ingress', 'Shadow')]
  const dirty = index.apply({ upserts, removals: [], errors: [] })
  const after = compile(index.snapshot(), compiled.pools, compiled, dirty)
  t.equal(rule(after)?.id, rule(compiled)?.id, 'the number stays')
  t.same([rule(compiled)?.shadow, rule(after)?.shadow], [undefined, true])
  t.equal(after.workloads.identities, compiled.workloads.identities)
})

const versions: Partial<Record<ApiKind, string>> = {
  NetworkPolicy: 'networking.k8s.io/v1',
  AccessPolicy: 'mesh.pillion.dev/v1alpha1',
}

function object(kind: ApiKind, name: string, rest: object, metadata = {}): ApiObject {
  const apiVersion = versions[kind] ?? 'v1'
  const raw = { apiVersion, kind, metadata: { name, namespace: 'shop', ...metadata } }
  const { object, errors } = parseObject(kind, { ...raw, ...rest }, 'test')
  if (object === undefined) throw new Error(JSON.stringify(errors))
  return object
}

type Mode = 'Enforce' | 'Shadow'
const apps = ['web', 'api', 'db'] as const
const workloads = apps.map((app, i) => {
  const spec = { nodeName: 'node-1', containers: [] }
  const status = { podIPs: [{ ip: `10.244.1.${i + 2}` }] }
  return object('Pod', app, { spec, status }, { uid: app, labels: { app } })
})
const selecting = (app: string) => (app === '' ? {} : { matchLabels: { app } })

function networkPolicy(n: number, app: string, type: string, mode: Mode, port = 80) {
  const podSelector = selecting(app)
  const rules = port === 80 ? [] : [{ ports: [{ port }] }]
  const spec = { podSelector, policyTypes: [type], [type.toLowerCase()]: rules }
  const annotations = { 'mesh.pillion.dev/mode': mode }
  return object('NetworkPolicy', `policy-${n}`, { spec }, { annotations })
}

function accessPolicy(n: number, app: string, type: string, mode: Mode, port: number) {
  const action = type === 'Ingress' ? 'Allow' : 'Deny'
  const from = [{ podSelector: selecting(apps[n % 3] ?? '') }]
  const spec = {
    selector: selecting(app),
    action,
    mode,
    rules: [{ from, ports: [{ port }] }],
  }
  return object('AccessPolicy', `policy-${n}`, { spec })
}

type Make = (mode: Mode) => ApiObject
const anyPolicy = fc
  .record({
    make: fc.constantFrom(networkPolicy, accessPolicy),
    n: fc.nat(5),
    app: fc.constantFrom('', ...apps),
    type: fc.constantFrom('Ingress', 'Egress'),
    port: fc.constantFrom(80, 81, 82),
  })
  .map(({ make, n, app, type, port }) => ({
    key: `${make.name} ${n}`,
    of: ((mode) => make(n, app, type, mode, port)) as Make,
  }))
const anyPolicies = fc.uniqueArray(anyPolicy, {
  selector: ({ key }) => key,
  maxLength: 6,
})

function compileAll(policies: readonly ApiObject[]) {
  const index = new ObjectIndex()
  index.apply({ upserts: [...workloads, ...policies], removals: [], errors: [] })
  return { index, compiled: compile(index.snapshot(), emptyPools()) }
}

/** By app: its directions, as texts. */
const judgedBy = (policies: readonly ApiObject[]) => {
  const { compiled } = compileAll(policies)
  return apps.map((app) => policyOf(compiled, app) ?? {})
}

t.test(
  'all in Shadow mode: nothing in force, the shadow is what enforcing gives',
  async () => {
    fc.assert(
      fc.property(anyPolicies, (policies) => {
        const enforced = judgedBy(policies.map(({ of }) => of('Enforce')))
        const shadows = judgedBy(policies.map(({ of }) => of('Shadow')))
        t.same(
          shadows.map(({ ingress, egress }) => [ingress, egress]),
          apps.map(() => [undefined, undefined]),
        )
        t.same(
          shadows.map(({ shadowIngress, shadowEgress }) => [shadowIngress, shadowEgress]),
          enforced.map(({ ingress, egress }) => [ingress, egress]),
        )
      }),
      { numRuns: 200 },
    )
  },
)

t.test(
  'some in Shadow mode: the others are as alone, the shadow is all of them',
  async () => {
    fc.assert(
      fc.property(
        anyPolicies,
        fc.array(fc.boolean(), { minLength: 6 }),
        (policies, flags) => {
          const modes = policies.map((_, i): Mode =>
            flags[i] === true ? 'Shadow' : 'Enforce',
          )
          const mixed = judgedBy(policies.map(({ of }, i) => of(modes[i] ?? 'Enforce')))
          const inForce = policies.filter((_, i) => modes[i] === 'Enforce')
          const alone = judgedBy(inForce.map(({ of }) => of('Enforce')))
          const all = judgedBy(policies.map(({ of }) => of('Enforce')))
          for (const [i, { shadowIngress, shadowEgress, ...real }] of mixed.entries()) {
            const { ingress, egress } = alone[i] ?? {}
            t.same([real['ingress'], real['egress']], [ingress, egress])
            for (const [shadow, whole] of [
              [shadowIngress, all[i]?.['ingress']],
              [shadowEgress, all[i]?.['egress']],
            ]) {
              if (shadow === undefined) continue
              t.same(shadow.entries, whole?.entries)
              t.equal(shadow.isolation === undefined, whole?.isolation === undefined)
            }
          }
        },
      ),
      { numRuns: 200 },
    )
  },
)
