// SPDX-License-Identifier: Apache-2.0
// Policies in Shadow mode, as people are told of them.
import { initialState, plan } from '@pillion/ebpf-l4'
import { Action, type Resource } from '@pillion/contract'
import { Registry } from 'prom-client'
import t from 'tap'
import { explain } from '../src/explain.ts'
import { Names } from '../src/names.ts'
import {
  maxShadowMetrics,
  shadowDenial,
  shadowPolicies,
  showShadow,
  type ShadowEntry,
} from '../src/shadow.ts'
import { of, resourcesOf, shop } from './support/resources.ts'

const allow = (peer: number) => ({
  ...{ peer, protocol: 6, port: 8080, portBits: 16 },
  ...{ action: Action.ALLOW, rule: 4 },
})

/** The shop, where only web should be able to call web, and api should call nobody. */
const watched: readonly Resource[] = [
  ...shop,
  of('rule', '3', { id: 3, text: 'AccessPolicy shop/web', shadow: true }),
  of('rule', '4', { id: 4, text: 'AccessPolicy shop/web rules[0]', shadow: true }),
  of('rule', '5', { id: 5, text: 'NetworkPolicy shop/api egress', shadow: true }),
  of('subjectPolicy', '300', {
    identity: 300,
    shadowIngress: { isolated: true, isolationRule: 3, entries: [allow(300)] },
  }),
  of('subjectPolicy', '302', {
    identity: 302,
    shadowEgress: { isolated: true, isolationRule: 5, entries: [] },
  }),
]
const resources = resourcesOf(watched)
const names = new Names(resources)
const context = {
  ...{ node: 'node-1', cgroups: new Map(), nodeCgroupId: 1n },
  ...{ kubepodsCgroupIds: [], proxyCgroupId: undefined },
}
const { tables } = plan(resources, context, initialState())

const entry = (
  key: Partial<ShadowEntry['key']>,
  count: bigint,
  lastNs = 0n,
): ShadowEntry => ({
  key: {
    ...{ rule: 3, srcIdentity: 301, dstIdentity: 300, port: 8080, protocol: 6 },
    ...{ direction: 1, ...key },
  },
  value: { count, lastNs },
})

t.test('rows by policy; one without any is there as well', async (t) => {
  const entries = [
    entry({ port: 9090 }, 2n, 1_000_000n),
    entry({ srcIdentity: 1 }, 14n, 5_000_000n),
    entry({ rule: 1 }, 7n),
    entry({ rule: 99 }, 8n),
  ]
  const end = { namespace: 'shop', workload: 'web', name: 'shop/web', identity: 300 }
  t.match(shadowPolicies(entries, names, 1000), [
    {
      policy: 'AccessPolicy shop/web',
      rows: [
        {
          ...{ rule: 'AccessPolicy shop/web', direction: 'ingress', count: 14 },
          ...{ protocol: 'TCP', port: 8080, destination: end },
          source: { identity: 1, workload: '', name: 'world' },
          lastTime: '1970-01-01T00:00:01.005Z',
        },
        { port: 9090, count: 2, source: { name: 'shop/api' } },
      ],
    },
    { policy: 'NetworkPolicy shop/api', rows: [] },
  ])
})

t.test('the same question as the kernel asks', async (t) => {
  const ask = (src: number, dst: number) =>
    shadowDenial(tables, { src, dst, protocol: 6, port: 8080 })?.ruleId
  t.equal(ask(300, 300), undefined, 'allowed by the shadow')
  t.equal(ask(301, 300), 3)
  t.equal(ask(302, 300), 5, 'egress goes first')
  t.equal(ask(2, 300), undefined, "the node's own processes pass ingress")
  t.equal(ask(300, 301), undefined, 'what is enforced has no shadow')
})

t.test('explain says what would be denied, and nothing where it is', async (t) => {
  const input = {
    ...{
      node: 'node-1',
      resources,
      tables,
      proxyServes: true,
      judged: new Set<number>(),
    },
    ...{ acceleration: 'auto' as const, admitted: new Set(['uid-api-1', 'uid-other-1']) },
  }
  const got = explain(input, 'shop/api-1', 'shop/web-1:8080')
  t.match(got, { verdict: 'allow', shadow: 'AccessPolicy shop/web' })
  t.match(
    got.steps.find(({ what }) => what === 'shadow policy')?.result,
    /let through: AccessPolicy shop\/web would deny it \(AccessPolicy shop\/web rules\[0\] allows TCP port 8080, but only from app=web,version=v1 in shop\)/,
  )
  t.equal(explain(input, 'shop/other-1', 'shop/api').shadow, undefined, 'is denied')
})

t.test('a metric a policy, as long as they are few', async (t) => {
  const textOf = async (of: Names): Promise<string> => {
    const registry = new Registry()
    const read = () => [entry({}, 2n), entry({ port: 1 }, 3n)]
    showShadow(registry, read, () => of)
    await registry.metrics()
    return registry.metrics()
  }
  const text = await textOf(names)
  t.match(text, /^pillion_policy_shadow_denied\{policy="AccessPolicy shop\/web"\} 5$/m)
  t.match(text, /^pillion_policy_shadow_denied\{policy="NetworkPolicy shop\/api"\} 0$/m)
  const many = Array.from({ length: maxShadowMetrics }, (_, i) =>
    of('rule', String(i + 10), { id: i + 10, text: `AccessPolicy a/${i}`, shadow: true }),
  )
  const lines = await textOf(new Names(resourcesOf([...watched, ...many])))
  t.notMatch(lines, /^pillion_policy_shadow_denied\{/m)
})
