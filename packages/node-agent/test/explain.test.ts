// SPDX-License-Identifier: Apache-2.0
import { Action, judgedBit, parseAddress, type Resource } from '@pillion/contract'
import { initialState, plan } from '@pillion/ebpf-l4'
import t from 'tap'
import { explain, type ExplainInput } from '../src/explain.ts'
import { splitPort } from '../src/peers.ts'
import { of, resourcesOf, shop } from './support/resources.ts'

const resources = resourcesOf(shop)
const context = {
  ...{ node: 'node-1', cgroups: new Map(), nodeCgroupId: 1n },
  ...{ kubepodsCgroupIds: [], proxyCgroupId: undefined },
}
const input: ExplainInput = {
  node: 'node-1',
  resources,
  tables: plan(resources, context, initialState()).tables,
  proxyServes: true,
  acceleration: 'auto',
  admitted: new Set(['uid-web-1', 'uid-other-1']),
  judged: new Set(),
}
const ask = (from: string, to: string, rest: Partial<ExplainInput> = {}) =>
  explain({ ...input, ...rest }, from, to)
const step = (explanation: ReturnType<typeof ask>, what: string) =>
  explanation.steps.find((s) => s.what === what)?.result ?? ''

t.test('allowed by a rule, in the kernel', async (t) => {
  const got = ask('shop/web-1', 'shop/api')
  t.match(got, { verdict: 'allow', gear: 0, rule: 'NetworkPolicy shop/api ingress[0]' })
  t.match(step(got, 'source'), /shop\/web-1: identity 300.*app=web/)
  t.match(step(got, 'endpoints'), /2 of 2.*10\.244\.1\.3:8080 \(api-1 on node-1, 50 %\)/)
  t.match(step(got, 'egress policy'), /no policy selects it/)
  t.match(step(got, 'ingress policy'), /allowed by NetworkPolicy shop\/api ingress/)
  t.match(step(got, 'acceleration'), /1 of 2 destinations on this node; auto/)
  t.same(ask('10.244.1.2', '10.96.0.7:80'), got, 'addresses mean the same')
})

t.test('denied by isolation', async (t) => {
  const got = ask('shop/other-1', 'shop/api:80')
  t.match(got, { verdict: 'deny', rule: 'NetworkPolicy shop/api (isolates)' })
  t.match(step(got, 'ingress policy'), /denied: EPERM by/)
  const nearest =
    'NetworkPolicy shop/api ingress[0] allows TCP port 8080, but only from app=web,version=v1 in shop'
  t.match(got, { nearest })
  t.equal(step(got, 'nearest rule'), nearest)
})

t.test('straight to a pod, or the world', async (t) => {
  t.match(ask('shop/web-1', 'shop/api-1:8080'), { verdict: 'allow', gear: 0 })
  t.match(ask('shop/web-1', 'shop/api-1:9090'), {
    verdict: 'deny',
    nearest:
      'NetworkPolicy shop/api ingress[0] allows this peer on TCP port 8080, not 9090',
  })
  t.match(ask('shop/web-1', 'shop/api-2:8080'), { verdict: 'allow' }, 'on another node')
  t.match(ask('shop/web-1', '192.0.2.1:443'), { verdict: 'allow' })
})

t.test('L7: by the proxy, and what happens when it is away', async (t) => {
  const policy = { admitted: input.admitted }
  t.match(ask('shop/web-1', 'shop/chat', policy), { verdict: 'allow', gear: 3 })
  const away = ask('shop/web-1', 'shop/chat', { proxyServes: false })
  t.equal(away.verdict, 'deny')
  t.match(step(away, 'L7'), /the proxy is away, failure mode Reject/)
})

t.test(
  'rules for requests: what the proxy let through is judged by its number',
  async (t) => {
    const entry = {
      ...{ peer: 300 + judgedBit, protocol: 6, port: 8080, portBits: 16 },
      ...{ action: Action.ALLOW, rule: 1 },
    }
    const ingress = { isolated: true, isolationRule: 2, entries: [entry] }
    const guarded = resourcesOf([
      ...shop,
      of('subjectPolicy', '301', { identity: 301, ingress }),
    ])
    const { tables } = plan(guarded, context, initialState())
    const chat = (judged: number[]) =>
      ask('shop/web-1', 'shop/chat', {
        resources: guarded,
        tables,
        judged: new Set(judged),
      })
    t.match(chat([301]), {
      ...{ verdict: 'allow', gear: 3, rule: 'NetworkPolicy shop/api ingress[0]' },
      ...{ source: 300, targets: [{ identity: 301, port: 8080 }] },
    })
    t.match(step(chat([301]), 'requests'), /the proxy asks/)
    t.match(chat([]), { verdict: 'deny', nearest: /only from app=web/ })
    const around = { resources: guarded, tables, judged: new Set([301]) }
    t.match(ask('shop/web-1', 'shop/api', around), { verdict: 'deny', gear: 0 })
  },
)

t.test('a pod that the kernel does not know is unmanaged', async (t) => {
  const got = ask('shop/web-1', 'shop/api', { admitted: new Set() })
  t.equal(got.verdict, 'deny')
  t.match(step(got, 'source'), /unmanaged/)
})

t.test("the node's processes pass ingress", async (t) => {
  const got = ask('10.245.0.1', 'shop/api')
  t.equal(got.verdict, 'allow')
  t.match(step(got, 'ingress policy'), /not asked: the source is host/)
})

t.test('no endpoint', async (t) => {
  const none = resourcesOf(shop.filter(({ body }) => body?.$case !== 'endpoint'))
  const got = ask('shop/web-1', 'shop/api', { resources: none })
  t.equal(got.verdict, 'deny')
  t.match(step(got, 'connect'), /ECONNREFUSED/)
})

/** The shop with other words about api and its endpoints. */
function altered(
  api: object,
  endpoints: Readonly<Record<string, object>> = {},
  ...more: Resource[]
): ReturnType<typeof resourcesOf> {
  const change = (resource: Resource): Resource => {
    const { name, body } = resource
    if (body?.$case === 'servicePort' && name === 'shop/api:80/TCP')
      return of('servicePort', name, { ...body.value, ...api })
    const address = name.split('|')[1]?.split(':')[0] ?? ''
    const rest = endpoints[address]
    if (body?.$case === 'endpoint' && rest !== undefined)
      return of('endpoint', name, { ...body.value, ...rest })
    return resource
  }
  return resourcesOf([...shop.map(change), ...more])
}

const zone = of('node', 'node-1', { name: 'node-1', zone: 'zone-a' })

t.test('a node port and an external address are the service', async (t) => {
  const resources = altered({
    ...{ nodePort: 30_080, externalAddresses: [parseAddress('198.51.100.7')] },
  })
  const port = ask('shop/web-1', '10.245.0.1:30080', { resources })
  t.match(port, { verdict: 'allow', gear: 0, rule: /ingress\[0\]/ })
  t.match(step(port, 'service'), 'shop/api:80 (node port 30080 at 10.245.0.1)')
  t.match(step(port, 'endpoints'), /2 of 2/)
  const external = ask('shop/web-1', '198.51.100.7:80', { resources })
  t.match(step(external, 'service'), 'shop/api:80 (external address 198.51.100.7)')
  for (const other of ['198.51.100.7:81', '10.245.0.1:30081', '10.244.1.3:30080']) {
    const got = ask('shop/web-1', other, { resources })
    t.match(step(got, 'destination'), /no service address/, other)
  }
})

t.test('internalTrafficPolicy Local', async (t) => {
  const local = altered({ localOnly: true, nodePort: 30_080 })
  const got = ask('shop/web-1', 'shop/api', { resources: local })
  t.equal(step(got, 'locality'), 'internalTrafficPolicy Local: only endpoints of node-1')
  t.match(step(got, 'endpoints'), /^1 of 2 in use: 10\.244\.1\.3/)
  const port = ask('shop/web-1', '10.245.0.1:30080', { resources: local })
  t.match(step(port, 'endpoints'), /^2 of 2/, 'a node port is not bound by it')
  const elsewhere = altered({ localOnly: true }, { '10.244.1.3': { node: 'node-2' } })
  const none = ask('shop/web-1', 'shop/api', { resources: elsewhere })
  t.match(none, { verdict: 'deny' })
  t.match(step(none, 'connect'), /ECONNREFUSED/)
  t.match(step(none, 'locality'), /Local/, 'and why')
})

t.test('hints, affinity and the last resort', async (t) => {
  const hints = {
    '10.244.1.3': { hintZones: ['zone-b'] },
    '10.244.2.3': { hintZones: ['zone-a'] },
  }
  const near = ask('shop/web-1', 'shop/api', { resources: altered({}, hints, zone) })
  t.equal(step(near, 'locality'), 'hinted for zone zone-a')
  t.match(step(near, 'endpoints'), /^1 of 2 in use: 10\.244\.2\.3/)
  const unknown = ask('shop/web-1', 'shop/api', { resources: altered({}, hints) })
  t.equal(step(unknown, 'locality'), '')
  const nodes = {
    '10.244.1.3': { hintNodes: ['node-1'] },
    '10.244.2.3': { hintNodes: ['node-2'] },
  }
  const own = ask('shop/web-1', 'shop/api', { resources: altered({}, nodes) })
  t.equal(step(own, 'locality'), 'hinted for node-1')
  const sticky = altered({ affinitySeconds: 60 })
  t.match(
    step(ask('shop/web-1', 'shop/api', { resources: sticky }), 'affinity'),
    /ClientIP: .* 60 s/,
  )
  const leaving = altered(
    {},
    { '10.244.1.3': { terminating: true }, '10.244.2.3': { ready: false } },
  )
  const last = ask('shop/web-1', 'shop/api', { resources: leaving })
  t.match(step(last, 'endpoints'), /^1 of 2 in use: .*100 %, terminating/)
})

t.test('questions that cannot be answered', async (t) => {
  t.throws(() => ask('shop/web-1', 'shop/api:81'), { message: /no port 81, only 80/ })
  t.throws(() => ask('shop/web-1', 'shop/nobody:80'), { message: /no service or pod/ })
  t.throws(() => ask('shop/web-1', 'shop/api-1'), { message: /say which port/ })
  t.throws(() => ask('nobody', 'shop/api'), { message: /"nobody"/ })
})

t.test('ports of names and addresses', async (t) => {
  t.same(splitPort('shop/api:80'), { host: 'shop/api', port: 80 })
  t.same(splitPort('shop/api'), { host: 'shop/api', port: undefined })
  t.same(splitPort('[fd00::1]:80'), { host: 'fd00::1', port: 80 })
  t.same(splitPort('fd00::1'), { host: 'fd00::1', port: undefined })
  t.throws(() => splitPort('a:0'))
  t.throws(() => splitPort('a:b'))
})
